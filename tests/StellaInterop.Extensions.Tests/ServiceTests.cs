using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>Registration, options, health, warm-up and disposal in a host.</summary>
internal sealed class ServiceTests
{
    [Test]
    public async Task Documents_and_queries_have_generators_of_their_own_over_one_pool()
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Tree.Model("tiny-new"));
        services.AddStellaQueryEmbeddings();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var documents = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        var queries = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
        Assert.Multiple(() =>
        {
            Assert.That(documents.GetService<StellaEmbeddingGenerator>()!.Prompt, Is.EqualTo(StellaPrompt.Document));
            Assert.That(queries.GetService<StellaEmbeddingGenerator>()!.Prompt, Is.EqualTo(StellaPrompt.S2P));
            Assert.That(queries.GetService<StellaEmbeddingPool>(), Is.SameAs(documents.GetService<StellaEmbeddingPool>()));
        });
        Assert.That(
            (await queries.GenerateVectorAsync("bread")).ToArray(), Is.Not.EqualTo((await documents.GenerateVectorAsync("bread")).ToArray()));
    }

    [Test]
    public async Task Named_models_stand_side_by_side()
    {
        var services = new ServiceCollection();
        services.AddKeyedStellaEmbeddings("new", options => options.ModelPath = Tree.Model("tiny-new"));
        services.AddKeyedStellaEmbeddings("qwen", options => options.ModelPath = Tree.Model("tiny-qwen2"));
        services.AddKeyedStellaQueryEmbeddings("qwen");
        await using ServiceProvider provider = services.BuildServiceProvider();
        foreach ((string key, string model) in new[] { ("new", "tiny-new"), ("qwen", "tiny-qwen2"), (StellaServiceKeys.QueryOf("qwen"), "tiny-qwen2") })
        {
            var generator = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(key);
            Assert.That((await generator.GenerateAsync(["bread"]))[0].ModelId, Is.EqualTo(model));
        }
    }

    [Test]
    public async Task Settings_come_from_a_section()
    {
        HostApplicationBuilder builder = Builder(
            ("Search:ModelPath", Tree.Model("tiny-new")),
            ("Search:Dimension", "256"),
            ("Search:Precision", "F32"),
            ("Search:Timeout", "00:00:30"),
            ("Search:WarmUpOnStart", "true"));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        await host.StartAsync();
        var pool = host.Services.GetRequiredService<StellaEmbeddingPool>();
        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Loaded), "warmed up at start");
        var generator = host.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.That((await generator.GenerateAsync(["bread"]))[0].Dimensions, Is.EqualTo(256));
        await host.StopAsync();
    }

    [Test]
    public async Task Without_warm_up_nothing_is_loaded_at_start()
    {
        HostApplicationBuilder builder = Builder(("Search:ModelPath", Tree.Model("tiny-new")));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        await host.StartAsync();
        Assert.That(
            host.Services.GetRequiredService<StellaEmbeddingPool>().GetHealth().Model, Is.EqualTo(StellaPoolModelState.Unloaded));
        await host.StopAsync();
    }

    [TestCase("ModelPath", null, "Search", "ModelPath", "ModelName")]
    [TestCase("ModelName", "stella", "ModelName", "NovaSearch/stella_en_400M_v5")]
    [TestCase("MaxTokens", "0", "Search.MaxTokens")]
    [TestCase("MaxTokens", "9000", "Search.MaxTokens", "8192")]
    [TestCase("MaxWorkers", "0", "Search.MaxWorkers")]
    [TestCase("MinWorkers", "2", "MinWorkers", "MaxWorkers")]
    [TestCase("MaxQueuedTokens", "5", "MaxQueuedTokens")]
    [TestCase("WhenFull", "Wait", "Timeout")]
    [TestCase("IdleTimeout", "00:00:00", "IdleTimeout")]
    public void A_wrong_setting_stops_the_start_and_is_named(string key, string? value, params string[] words)
    {
        var settings = new List<(string, string?)>();
        if (key == "MinWorkers")
        {
            settings.Add(("Search:MaxWorkers", "1"));
        }

        if (key != "ModelPath" && key != "ModelName")
        {
            settings.Add(("Search:ModelPath", Tree.Model("tiny-new")));
        }

        settings.Add(($"Search:{key}", value));
        HostApplicationBuilder builder = Builder([.. settings]);
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        var error = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync());
        foreach (string word in words)
        {
            Assert.That(error!.Message, Does.Contain(word));
        }
    }

    [Test]
    public void A_value_of_a_wrong_type_is_named_by_its_key()
    {
        HostApplicationBuilder builder = Builder(("Search:ModelPath", "x"), ("Search:Precision", "F23"));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        Assert.That(async () => await host.StartAsync(), Throws.InvalidOperationException.With.Message.Contains("Search:Precision"));
    }

    [Test]
    public async Task Health_checks_tell_ready_and_live_apart()
    {
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddStellaEmbeddings(options => options.ModelPath = "/nowhere");
        services.AddHealthChecks().AddStellaPool();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var checks = provider.GetRequiredService<HealthCheckService>();
        Assert.That(await Statuses(), Is.EqualTo((HealthStatus.Healthy, HealthStatus.Healthy)), "nothing was asked yet");

        var generator = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.That(async () => await generator.GenerateAsync(["bread"]), Throws.TypeOf<StellaModelFolderException>());
        Assert.That(await Statuses(), Is.EqualTo((HealthStatus.Unhealthy, HealthStatus.Healthy)));

        await provider.GetRequiredService<StellaEmbeddingPool>().DisposeAsync();
        Assert.That(await Statuses(), Is.EqualTo((HealthStatus.Unhealthy, HealthStatus.Unhealthy)));

        async Task<(HealthStatus Ready, HealthStatus Live)> Statuses()
        {
            HealthReport ready = await checks.CheckHealthAsync(check => check.Tags.Contains("ready"));
            HealthReport live = await checks.CheckHealthAsync(check => check.Tags.Contains("live"));
            Assert.That(ready.Entries.Keys.Single(), Is.EqualTo("stella:ready"));
            return (ready.Status, live.Status);
        }
    }

    [Test]
    public async Task The_container_disposes_the_pool_either_way([Values] bool asynchronously)
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Tree.Model("tiny-new"));
        ServiceProvider provider = services.BuildServiceProvider();
        var pool = provider.GetRequiredService<StellaEmbeddingPool>();
        _ = await pool.EmbedAsync("bread");
        if (asynchronously)
        {
            await provider.DisposeAsync();
        }
        else
        {
            // The container may be disposed by code that cannot wait.
            await Task.Run(provider.Dispose);
        }

        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Closed));
        Assert.That(pool.GetHealth().Workers, Is.Zero);
    }

    [Test]
    public async Task One_line_brings_metrics_and_traces()
    {
        var metrics = new List<Metric>();
        var activities = new List<System.Diagnostics.Activity>();
        using MeterProvider meters = Sdk.CreateMeterProviderBuilder().AddStellaInstrumentation().AddInMemoryExporter(metrics).Build();
        using TracerProvider tracers =
            Sdk.CreateTracerProviderBuilder().AddStellaInstrumentation().AddInMemoryExporter(activities).Build();
        await using (var pool = new StellaEmbeddingPool(Tree.Model("tiny-new")))
        {
            _ = await pool.EmbedAsync(["bread", "river"]);
            meters.ForceFlush();
        }

        Assert.That(
            metrics.Select(metric => (metric.Name, metric.Unit)),
            Is.SupersetOf(new[]
            {
                ("stella.calls", "{request}"), ("stella.texts", "{text}"), ("stella.tokens", "{token}"),
                ("stella.forward.duration", "s"), ("stella.queue.duration", "s"), ("stella.memory.limit", "By"),
            }));
        Assert.That(activities.Select(activity => activity.DisplayName), Is.SupersetOf((string[])["stella.embed", "stella.queue", "stella.forward"]));
        System.Diagnostics.Activity call = activities.First(activity => activity.DisplayName == "stella.embed" && Equals(activity.GetTagItem("stella.texts"), 2));
        Assert.That(
            activities.Where(activity => activity.ParentSpanId == call.SpanId).Select(activity => activity.DisplayName),
            Is.EquivalentTo((string[])["stella.queue", "stella.forward"]));
    }

    private static HostApplicationBuilder Builder(params (string Key, string? Value)[] settings)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(
            settings.Select(setting => KeyValuePair.Create(setting.Key, setting.Value)));
        return builder;
    }
}
