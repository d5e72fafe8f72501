using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop;

namespace StellaInterop.Extensions.Tests;

internal static class ReadmeExample
{
    /// <summary>The README's lines, and then the two scores that they lead to.</summary>
    public static async Task<(float Steps, float Bread)> RunAsync(string modelPath)
    {
        var services = new ServiceCollection();
        services.AddLogging();

        services.AddStellaEmbeddings(options =>
        {
            options.ModelPath = modelPath;
            options.Timeout = TimeSpan.FromSeconds(10);
        });
        services.AddStellaQueryEmbeddings();
        services.AddHealthChecks().AddStellaPool();
        await using ServiceProvider provider = services.BuildServiceProvider();

        var documents = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        var queries = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
        var vectors = await documents.GenerateAsync(["Steps to recover access to your account", "Banana bread with walnuts"]);
        var question = await queries.GenerateVectorAsync("How do I reset my password?");

        return (Similarity.Dot(question.Span, vectors[0].Vector.Span), Similarity.Dot(question.Span, vectors[1].Vector.Span));
    }
}
