using StellaInterop;
using StellaInterop.Models.Mini;

namespace StellaInterop.Tests;

internal static class ReadmeExample
{
    /// <summary>The README's lines, and then the two scores that they lead to.</summary>
    public static (float Steps, float Bread) Run()
    {
        using StellaModel model = StellaModel.Load(StellaMiniModel.Path);
        var query = new StellaEmbedOptions { Prompt = StellaPrompt.S2P };
        float[] question = model.Embed("How do I reset my password?", query);
        string[] documents = ["Steps to recover access to your account", "Banana bread with walnuts"];
        float[] vectors = new float[documents.Length * model.Info.DefaultDimension];
        model.Embed(documents, vectors);
        Console.WriteLine(question.Zip(vectors, (a, b) => a * b).Sum());

        return (
            question.Zip(vectors, (a, b) => a * b).Sum(),
            question.Zip(vectors.Skip(question.Length), (a, b) => a * b).Sum());
    }
}
