using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests that an invalid argument throws synchronously through any chain of generators.</summary>
internal sealed class GeneratorUsageTests
{
    private static IEnumerable<TestCaseData> WrongCalls()
    {
        yield return new TestCaseData(null, null);
        yield return new TestCaseData(new[] { "bread" }, new EmbeddingGenerationOptions { ModelId = "another" });
        yield return new TestCaseData(
            new[] { "bread" },
            new EmbeddingGenerationOptions { AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = 7 } });
        yield return new TestCaseData(new[] { "bread" }, new EmbeddingGenerationOptions { RawRepresentationFactory = _ => new StellaEmbedOptions { Dimension = 0 } });
        yield return new TestCaseData(new[] { "bread" }, new EmbeddingGenerationOptions { RawRepresentationFactory = _ => new StellaEmbedOptions { Dimensions = [256] } });
    }

    [TestCaseSource(nameof(WrongCalls))]
    public async Task An_invalid_argument_throws_synchronously(string[]? values, EmbeddingGenerationOptions? options)
    {
        var services = new ServiceCollection();
        services.AddDistributedMemoryCache();
        services.AddStellaEmbeddings(given => given.ModelPath = Fixtures.Model("tiny-new"));
        services.AddStellaQueryEmbeddings().UseDistributedCache();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var plain = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        var cached = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
        Assert.That(() => { _ = plain.GenerateAsync(values!, options); }, Throws.InstanceOf<ArgumentException>());
        Assert.That(() => { _ = cached.GenerateAsync(values!, options); }, Throws.InstanceOf<ArgumentException>());
    }
}
