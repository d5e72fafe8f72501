using System.Globalization;
using StellaInterop;

/// <summary>Three texts by their similarity to a question, best first.</summary>
public static class Ranking
{
    private static readonly string[] Texts =
    [
        "Banana bread with walnuts",
        "Where to change the settings of a phone",
        "Steps to recover access to your account",
    ];

    /// <summary>The length of the question's vector, then a line for each text.</summary>
    public static string[] Of(StellaModel model)
    {
        int dimension = model.Info.DefaultDimension;
        float[] question = model.Embed("How do I reset my password?", new StellaEmbedOptions { Prompt = StellaPrompt.S2S });
        float[] rows = new float[Texts.Length * dimension];
        model.Embed(Texts, rows, new StellaEmbedOptions { Prompt = StellaPrompt.S2S });
        var ranked = Texts
            .Select((text, i) => (Text: text, Score: Dot(question, rows.AsSpan(i * dimension, dimension))))
            .OrderByDescending(row => row.Score)
            .Select(row => string.Create(CultureInfo.InvariantCulture, $"{row.Score:F4} {row.Text}"));
        return [Math.Sqrt(Dot(question, question)).ToString("F6", CultureInfo.InvariantCulture), .. ranked];
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
