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

/// <summary>Tests registration, options, health, warm-up and disposal in a host.</summary>
internal sealed class ServiceTests
{
    [Test]
    public async Task Documents_and_queries_have_separate_generators_over_one_pool()
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"));
        services.AddStellaQueryEmbeddings();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var documents = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        var queries = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query);
        Assert.Multiple(() =>
        {
            Assert.That(documents.GetService<StellaEmbeddingGenerator>()!.Prompt, Is.EqualTo(StellaPrompt.Document));
            Assert.That(queries.GetService<StellaEmbeddingGenerator>()!.Prompt, Is.EqualTo(StellaPrompt.SearchQuery));
            Assert.That(queries.GetService<StellaEmbeddingPool>(), Is.SameAs(documents.GetService<StellaEmbeddingPool>()));
        });
        Assert.That(
            (await queries.GenerateVectorAsync("bread")).ToArray(), Is.Not.EqualTo((await documents.GenerateVectorAsync("bread")).ToArray()));
    }

    [Test]
    public async Task Models_with_different_keys_coexist()
    {
        var services = new ServiceCollection();
        services.AddKeyedStellaEmbeddings("new", options => options.ModelPath = Fixtures.Model("tiny-new"));
        services.AddKeyedStellaEmbeddings("qwen", options => options.ModelPath = Fixtures.Model("tiny-qwen2"));
        services.AddKeyedStellaQueryEmbeddings("qwen");
        await using ServiceProvider provider = services.BuildServiceProvider();
        foreach ((string key, string model) in new[] { ("new", "tiny-new"), ("qwen", "tiny-qwen2"), (StellaServiceKeys.GetQueryKey("qwen"), "tiny-qwen2") })
        {
            var generator = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(key);
            Assert.That((await generator.GenerateAsync(["bread"]))[0].ModelId, Is.EqualTo(model));
        }
    }

    /// <summary>Keys that could be confused with the key of another model's generator.</summary>
    private static readonly string[] Names = ["stella", "x", "x:query", "query", ":query", "stella:", "Stella:query", "stella:x", " x"];

    [Test]
    public async Task Each_key_has_the_generator_of_its_own_model()
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"));
        services.AddStellaQueryEmbeddings();
        foreach (string name in Names)
        {
            services.AddKeyedStellaEmbeddings(name, options => options.ModelPath = Fixtures.Model("tiny-qwen2"));
            services.AddKeyedStellaQueryEmbeddings(name);
        }

        await using ServiceProvider provider = services.BuildServiceProvider();
        StellaEmbeddingGenerator Generator(string? key) => (key is null
            ? provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>()
            : provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(key)).GetService<StellaEmbeddingGenerator>()!;
        (string? Key, StellaEmbeddingPool Pool, StellaPrompt Prompt)[] expected =
        [
            (null, provider.GetRequiredService<StellaEmbeddingPool>(), StellaPrompt.Document),
            (StellaServiceKeys.Query, provider.GetRequiredService<StellaEmbeddingPool>(), StellaPrompt.SearchQuery),
            .. Names.SelectMany(name => new (string?, StellaEmbeddingPool, StellaPrompt)[]
            {
                (name, provider.GetRequiredKeyedService<StellaEmbeddingPool>(name), StellaPrompt.Document),
                (StellaServiceKeys.GetQueryKey(name), provider.GetRequiredKeyedService<StellaEmbeddingPool>(name), StellaPrompt.SearchQuery),
            }),
        ];
        foreach (var (key, pool, prompt) in expected)
        {
            Assert.That(Generator(key).GetService(typeof(StellaEmbeddingPool)), Is.SameAs(pool), key);
            Assert.That(Generator(key).Prompt, Is.EqualTo(prompt), key);
        }

        Assert.That(expected.Select(row => row.Pool).Distinct().Count(), Is.EqualTo(Names.Length + 1));
        Assert.That(expected.Select(row => row.Key), Is.Unique);
    }

    [TestCase("")]
    [TestCase(" ")]
    [TestCase("\t")]
    [TestCase("stella:query")]
    [TestCase("stella:query:x")]
    public void A_key_that_could_be_a_query_key_is_refused(string name)
    {
        var services = new ServiceCollection();
        Assert.Multiple(() =>
        {
            Assert.That(() => services.AddKeyedStellaEmbeddings(name, _ => { }), Throws.ArgumentException);
            Assert.That(() => services.AddKeyedStellaEmbeddings(name, Builder().Configuration.GetSection("Search")), Throws.ArgumentException);
            Assert.That(() => services.AddKeyedStellaQueryEmbeddings(name), Throws.ArgumentException);
            Assert.That(() => StellaServiceKeys.GetQueryKey(name), Throws.ArgumentException);
            Assert.That(services, Is.Empty);
        });
    }

    [Test]
    public void A_second_registration_with_the_same_key_is_refused_with_the_key()
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(_ => { });
        services.AddStellaQueryEmbeddings();
        services.AddKeyedStellaEmbeddings("x", _ => { });
        services.AddKeyedStellaQueryEmbeddings("x");
        int before = services.Count;
        Assert.Multiple(() =>
        {
            Assert.That(() => services.AddStellaEmbeddings(_ => { }), Throws.InvalidOperationException.With.Message.Contains("without a key"));
            Assert.That(() => services.AddStellaQueryEmbeddings(StellaPrompt.SentenceSimilarity), Throws.InvalidOperationException.With.Message.Contains("'stella:query'"));
            Assert.That(() => services.AddKeyedStellaEmbeddings("x", _ => { }), Throws.InvalidOperationException.With.Message.Contains("'x'"));
            Assert.That(() => services.AddKeyedStellaQueryEmbeddings("x"), Throws.InvalidOperationException.With.Message.Contains("'stella:query:x'"));
            Assert.That(services, Has.Count.EqualTo(before));
        });
    }

    [Test]
    public void The_generator_of_another_library_is_not_replaced()
    {
        var services = new ServiceCollection();
        services.AddKeyedEmbeddingGenerator("search", _ => (IEmbeddingGenerator<string, Embedding<float>>)null!);
        int before = services.Count;
        Assert.That(() => services.AddKeyedStellaEmbeddings("search", _ => { }), Throws.InvalidOperationException.With.Message.Contains("'search'"));
        Assert.That(services, Has.Count.EqualTo(before));
    }

    [Test]
    public async Task Settings_are_read_from_a_section()
    {
        HostApplicationBuilder builder = Builder(
            ("Search:ModelPath", Fixtures.Model("tiny-new")),
            ("Search:Model:Dimension", "256"),
            ("Search:Model:Precision", "Float32"),
            ("Search:Pool:DefaultTimeout", "00:00:30"),
            ("Search:WarmUpOnStart", "true"));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        await host.StartAsync();
        var pool = host.Services.GetRequiredService<StellaEmbeddingPool>();
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded), "the model is loaded at start");
        var generator = host.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.That((await generator.GenerateAsync(["bread"]))[0].Dimensions, Is.EqualTo(256));
        await host.StopAsync();
    }

    [Test]
    public async Task Settings_are_read_from_the_default_section_of_the_configuration()
    {
        HostApplicationBuilder builder = Builder(
            ("StellaEmbeddings:ModelPath", Fixtures.Model("tiny-new")), ("StellaEmbeddings:Model:Dimension", "256"));
        builder.Services.AddStellaEmbeddings();
        using IHost host = builder.Build();
        var generator = host.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        Assert.That(generator.GetService<EmbeddingGeneratorMetadata>()!.DefaultModelDimensions, Is.EqualTo(256), "the dimension is known before the model is loaded");
        Assert.That((await generator.GenerateAsync(["bread"]))[0].Dimensions, Is.EqualTo(256));
    }

    [Test]
    public void Invalid_settings_of_all_sections_are_reported_together()
    {
        HostApplicationBuilder builder = Builder(
            ("StellaEmbeddings:Revision", "a b"),
            ("StellaEmbeddings:Model:Threads", "0"),
            ("StellaEmbeddings:Model:MaxTokens", "0"),
            ("StellaEmbeddings:Pool:MinWorkers", "-1"),
            ("StellaEmbeddings:Pool:CircuitBreaker:BreakDuration", "-00:00:01"));
        builder.Services.AddStellaEmbeddings();
        using IHost host = builder.Build();
        var error = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        string[] names = ["ModelPath, ModelName", "Revision", "Model:Threads", "Model:MaxTokens", "Pool:MinWorkers", "Pool:CircuitBreaker:BreakDuration"];
        Assert.That(
            names.Select(name => error.Failures.Any(failure => failure.StartsWith($"StellaEmbeddings:{name}: ", StringComparison.Ordinal))),
            Has.All.True,
            string.Join('\n', error.Failures));
    }

    [Test]
    public void Invalid_settings_of_all_models_are_reported_together()
    {
        HostApplicationBuilder builder = Builder(("One:Pool:MaxWorkers", "0"), ("Two:Model:Threads", "0"));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("One"));
        builder.Services.AddKeyedStellaEmbeddings("two", builder.Configuration.GetSection("Two"));
        using IHost host = builder.Build();
        var error = Assert.ThrowsAsync<AggregateException>(() => host.StartAsync())!;
        Assert.That(
            error.InnerExceptions.Select(inner => inner.Message),
            Has.Some.Contains("One:Pool:MaxWorkers: ").And.Some.Contains("Two:Model:Threads: "));
    }

    [Test]
    public void A_null_section_or_object_is_refused([Values("Model", "Pool", "CircuitBreaker", "TimeProvider")] string name)
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options =>
        {
            options.ModelPath = Fixtures.Model("tiny-new");
            options.Model = name == "Model" ? null! : options.Model;
            options.Pool.CircuitBreaker = name == "CircuitBreaker" ? null! : options.Pool.CircuitBreaker;
            options.Pool.TimeProvider = name == "TimeProvider" ? null! : options.Pool.TimeProvider;
            options.Pool = name == "Pool" ? null! : options.Pool;
        });
        using ServiceProvider provider = services.BuildServiceProvider();
        Assert.That(
            () => provider.GetRequiredService<StellaEmbeddingPool>(),
            Throws.TypeOf<OptionsValidationException>().With.Message.Contains($"{name} must not be null"));
    }

    private enum Language
    {
        English,
        German,
    }

    [Test]
    public async Task A_key_may_be_an_enum_value_or_another_object()
    {
        var services = new ServiceCollection();
        services.AddKeyedStellaEmbeddings(Language.English, options => options.ModelPath = Fixtures.Model("tiny-new"));
        services.AddKeyedStellaEmbeddings(Language.German, options => options.ModelPath = Fixtures.Model("tiny-qwen2"));
        services.AddKeyedStellaQueryEmbeddings(Language.German);
        services.Configure<StellaEmbeddingServiceOptions>("German", options => options.Model.Dimension = 256);
        services.AddHealthChecks().AddKeyedStellaHealthChecks(Language.German, tags: ["models"], failureStatus: HealthStatus.Degraded);
        services.AddLogging();
        await using ServiceProvider provider = services.BuildServiceProvider();
        Assert.That(() => provider.GetRequiredKeyedService<StellaEmbeddingPool>("German"), Throws.InvalidOperationException, "the text of the key is a different key");
        var queries = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.GetQueryKey(Language.German));
        Assert.That((await queries.GenerateAsync(["bread"]))[0].Dimensions, Is.EqualTo(256));
        Assert.That(provider.GetRequiredKeyedService<StellaEmbeddingPool>(Language.German).Info!.Architecture, Is.EqualTo(StellaArchitecture.Qwen2));
        await provider.GetRequiredKeyedService<StellaEmbeddingPool>(Language.German).DisposeAsync();
        HealthReport report = await provider.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.That(
            report.Entries.Select(entry => (entry.Key, entry.Value.Status, entry.Value.Tags.Contains("models"))),
            Is.EqualTo(new[] { ("stella:German:ready", HealthStatus.Degraded, true), ("stella:German:live", HealthStatus.Degraded, true) }));
    }

    [Test]
    public void Two_keys_with_the_same_text_are_refused()
    {
        var services = new ServiceCollection();
        services.AddKeyedStellaEmbeddings(Language.English, _ => { });
        Assert.That(() => services.AddKeyedStellaEmbeddings("English", _ => { }), Throws.InvalidOperationException.With.Message.Contains("'English'"));
    }

    [Test]
    public void A_null_key_is_the_model_without_a_key()
    {
        var services = new ServiceCollection();
        services.AddKeyedStellaEmbeddings(null, options => options.ModelPath = Fixtures.Model("tiny-new"));
        services.AddKeyedStellaQueryEmbeddings(null);
        using ServiceProvider provider = services.BuildServiceProvider();
        Assert.That(provider.GetService<IEmbeddingGenerator<string, Embedding<float>>>(), Is.Not.Null);
        Assert.That(provider.GetKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query), Is.Not.Null);
        Assert.That(() => services.AddStellaEmbeddings(), Throws.InvalidOperationException);
    }

    [Test]
    public async Task Without_warm_up_no_model_is_loaded_at_start()
    {
        HostApplicationBuilder builder = Builder(("Search:ModelPath", Fixtures.Model("tiny-new")));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        await host.StartAsync();
        Assert.That(
            host.Services.GetRequiredService<StellaEmbeddingPool>().GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Unloaded));
        await host.StopAsync();
    }

    [TestCase("ModelPath", null, "Search", "ModelPath", "ModelName")]
    [TestCase("ModelName", "stella", "ModelName", "NovaSearch/stella_en_400M_v5")]
    [TestCase("Revision", "a b", "Revision", "'a b'", "a branch, a tag or a commit")]
    [TestCase("Revision", "main", "Revision", "a folder has no revision", "ModelName")]
    [TestCase("Model:MaxTokens", "0", "Search:Model:MaxTokens: ")]
    [TestCase("Model:MaxTokens", "9000", "Search:Model:MaxTokens: ", "8192")]
    [TestCase("Pool:MaxWorkers", "0", "Search:Pool:MaxWorkers: ")]
    [TestCase("Pool:MinWorkers", "2", "Search:Pool:MinWorkers: ", "MaxWorkers, 1")]
    [TestCase("Pool:MaxQueuedTokens", "5", "Search:Pool:MaxQueuedTokens: ")]
    [TestCase("Pool:CircuitBreaker:MaxProbes", "0", "Search:Pool:CircuitBreaker:MaxProbes: ")]
    [TestCase("QueueFullMode", "Wait", "Search:Pool:DefaultTimeout: ")]
    [TestCase("QueueFullMode", "7", "Search:QueueFullMode: ", "Reject or Wait")]
    [TestCase("LongTextBehavior", "9", "Search:LongTextBehavior: ", "Truncate or Error")]
    [TestCase("InvalidTextBehavior", "9", "Search:InvalidTextBehavior: ")]
    [TestCase("Model:Precision", "99", "Search:Model:Precision: ", "Auto or Float32 or BFloat16 or Int8")]
    [TestCase("Model:LoadMode", "5", "Search:Model:LoadMode: ")]
    [TestCase("Pool:IdleTimeout", "00:00:00", "Search:Pool:IdleTimeout: ")]
    public void An_invalid_setting_fails_the_start_and_is_named(string key, string? value, params string[] words)
    {
        var settings = new List<(string, string?)>();
        if (key == "Pool:MinWorkers")
        {
            settings.Add(("Search:Pool:MaxWorkers", "1"));
        }

        if (key != "ModelPath" && key != "ModelName")
        {
            settings.Add(("Search:ModelPath", Fixtures.Model("tiny-new")));
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
    [NonParallelizable]
    public async Task The_revision_setting_chooses_the_snapshot_of_the_cache()
    {
        using var cache = new TemporaryFolder();
        string? before = Environment.GetEnvironmentVariable("HF_HUB_CACHE");
        Environment.SetEnvironmentVariable("HF_HUB_CACHE", cache.Path);
        try
        {
            string repository = cache.File("models--test-org--tiny");
            foreach ((string name, char digit, string model) in new[] { ("main", 'a', "tiny-new"), ("v1", 'b', "tiny-qwen2") })
            {
                string commit = new(digit, 40);
                foreach (string file in Directory.EnumerateFiles(Fixtures.Model(model), "*", SearchOption.AllDirectories))
                {
                    string copy = Path.Combine(repository, "snapshots", commit, Path.GetRelativePath(Fixtures.Model(model), file));
                    Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                    File.Copy(file, copy);
                }

                Directory.CreateDirectory(Path.Combine(repository, "refs"));
                File.WriteAllText(Path.Combine(repository, "refs", name), commit);
            }

            foreach ((string? revision, StellaArchitecture expected) in new[]
            {
                (null, StellaArchitecture.NewModel), ("", StellaArchitecture.NewModel), ("v1", StellaArchitecture.Qwen2),
                (new string('b', 40), StellaArchitecture.Qwen2),
            })
            {
                HostApplicationBuilder builder = Builder(("Search:ModelName", "test-org/tiny"), ("Search:Revision", revision));
                builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
                using IHost host = builder.Build();
                StellaModelInfo info = await host.Services.GetRequiredService<StellaEmbeddingPool>().WarmUpAsync();
                Assert.That((info.Architecture, info.Name), Is.EqualTo((expected, "test-org/tiny")));
            }

            HostApplicationBuilder wrong = Builder(("Search:ModelName", "test-org/tiny"), ("Search:Revision", "v2"));
            wrong.Services.AddStellaEmbeddings(wrong.Configuration.GetSection("Search"));
            using IHost none = wrong.Build();
            Assert.That(
                () => none.Services.GetRequiredService<StellaEmbeddingPool>(),
                Throws.TypeOf<StellaModelFolderException>().With.Message.Contains("The cache has main, v1. Get it with: stella download test-org/tiny --revision v2"));
        }
        finally
        {
            Environment.SetEnvironmentVariable("HF_HUB_CACHE", before);
        }
    }

    [Test]
    public void A_setting_of_the_wrong_type_is_named_by_its_key()
    {
        HostApplicationBuilder builder = Builder(("Search:ModelPath", "x"), ("Search:Model:Precision", "F23"));
        builder.Services.AddStellaEmbeddings(builder.Configuration.GetSection("Search"));
        using IHost host = builder.Build();
        Assert.That(async () => await host.StartAsync(), Throws.InvalidOperationException.With.Message.Contains("Search:Model:Precision"));
    }

    [Test]
    public async Task The_live_check_fails_only_if_the_pool_is_closed()
    {
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddStellaEmbeddings(options => options.ModelPath = "/nowhere");
        services.AddHealthChecks().AddStellaHealthChecks();
        await using ServiceProvider provider = services.BuildServiceProvider();
        var checks = provider.GetRequiredService<HealthCheckService>();
        Assert.That(await Statuses(), Is.EqualTo((HealthStatus.Healthy, HealthStatus.Healthy)), "no call was made yet");

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
    public async Task The_container_disposes_the_pool_synchronously_or_asynchronously([Values] bool asynchronously)
    {
        var services = new ServiceCollection();
        services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"));
        ServiceProvider provider = services.BuildServiceProvider();
        var pool = provider.GetRequiredService<StellaEmbeddingPool>();
        _ = await pool.EmbedAsync("bread");
        if (asynchronously)
        {
            await provider.DisposeAsync();
        }
        else
        {
            // Code that cannot wait disposes the container synchronously.
            await Task.Run(provider.Dispose);
        }

        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Closed));
        Assert.That(pool.GetHealth().WorkerCount, Is.Zero);
    }

    [Test]
    public async Task OpenTelemetry_exports_metrics_and_traces_of_the_pool()
    {
        var metrics = new List<Metric>();
        var activities = new List<System.Diagnostics.Activity>();
        using MeterProvider meters = Sdk.CreateMeterProviderBuilder().AddMeter(StellaTelemetry.MeterName).AddInMemoryExporter(metrics).Build();
        using TracerProvider tracers =
            Sdk.CreateTracerProviderBuilder().AddSource(StellaTelemetry.ActivitySourceName).AddInMemoryExporter(activities).Build();
        await using (var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new")))
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
