using System.Diagnostics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using Microsoft.Extensions.Options;
using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests the middleware of Microsoft.Extensions.AI in the chain of a registered generator.</summary>
internal sealed class MiddlewareTests
{
    [Test]
    public async Task A_distributed_cache_requests_only_missing_texts()
    {
        var services = new ServiceCollection();
        services.AddSingleton<IDistributedCache>(
            new MemoryDistributedCache(Options.Create(new MemoryDistributedCacheOptions())));
        var asked = new List<string>();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
            .UseDistributedCache()
            .Use((values, options, inner, token) =>
            {
                asked.AddRange(values);
                return inner.GenerateAsync(values, options, token);
            });
        await using ServiceProvider provider = services.BuildServiceProvider();
        var generator = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        var first = await generator.GenerateAsync(["river", "stone"]);
        var second = await generator.GenerateAsync(["stone", "bread"]);
        Assert.That(asked, Is.EqualTo((string[])["river", "stone", "bread"]));
        Assert.That(second[0].Vector.ToArray(), Is.EqualTo(first[1].Vector.ToArray()));
    }

    [Test]
    public async Task Telemetry_has_provider_model_and_tokens()
    {
        var ended = new List<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "test.embeddings",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Add,
        };
        ActivitySource.AddActivityListener(listener);
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
            .UseOpenTelemetry(sourceName: "test.embeddings");
        await using ServiceProvider provider = services.BuildServiceProvider();
        await provider.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync();
        var found = await provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GenerateAsync(["river"]);
        Activity activity = ended.Single();
        Assert.Multiple(() =>
        {
            Assert.That(activity.GetTagItem("gen_ai.provider.name"), Is.EqualTo("stella"));
            Assert.That(activity.GetTagItem("gen_ai.response.model"), Is.EqualTo("tiny-new"));
            Assert.That(activity.GetTagItem("gen_ai.usage.input_tokens"), Is.EqualTo(found.Usage!.InputTokenCount));
        });
    }

    [Test]
    public async Task Logging_middleware_logs_the_call()
    {
        var services = new ServiceCollection();
        services.AddFakeLogging(options => options.FilteredLevels.Add(LogLevel.Debug));
        services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Debug));
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new")).UseLogging();
        await using ServiceProvider provider = services.BuildServiceProvider();
        _ = await provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GenerateAsync(["river"]);
        Assert.That(
            provider.GetFakeLogCollector().GetSnapshot().Select(record => record.Category),
            Has.Some.Contains("LoggingEmbeddingGenerator"));
    }

    [Test]
    public async Task Options_can_be_set_for_all_calls()
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
            .ConfigureOptions(options => options.Dimensions = 256);
        await using ServiceProvider provider = services.BuildServiceProvider();
        var generator = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.That((await generator.GenerateAsync(["river"]))[0].Dimensions, Is.EqualTo(256));
    }
}
