using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Caching.Memory;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using StellaInterop.Tests;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests that generators with a shared distributed cache return the same results as without a cache.</summary>
#pragma warning disable CA5394 // The seeds make failures reproducible.
internal sealed class CacheTests
{
    private static readonly string LongText = string.Join(' ', Enumerable.Repeat("river", 40));

    /// <summary>The texts of calls. Some are truncated, and some become equal in the JSON of a cache key.</summary>
    private static readonly string[][] Texts =
    [
        ["river", "stone"], ["stone", "river", ""], [LongText, "river"], ["half \ud800", "river"], ["half \ud801"], ["half \ufffd", "river"],
    ];

    /// <summary>
    /// The JSON options of Microsoft.Extensions.AI in a program without JSON reflection, such as a trimmed program.
    /// </summary>
    private static readonly JsonSerializerOptions WithoutReflection = new(AIJsonUtilities.DefaultOptions)
    {
        TypeInfoResolver = JsonTypeInfoResolver.Combine(
            [.. AIJsonUtilities.DefaultOptions.TypeInfoResolverChain.Where(resolver => resolver is not DefaultJsonTypeInfoResolver)]),
    };

    private IDistributedCache cache = null!;

    [SetUp]
    public void CreateCache() => cache = new MemoryDistributedCache(Options.Create(new MemoryDistributedCacheOptions()));

    /// <summary>
    /// Makes calls through one cache, with occasional restarts. Each call differs from the previous call in one setting. Each
    /// result must have the bits, token counts and truncation of a generator without a cache.
    /// </summary>
    [Test]
    public async Task Generators_with_a_shared_cache_return_the_same_results_as_without_a_cache([Range(0, 2)] int seed)
    {
        var random = new Random(seed);
        using var folders = new OtherModel();
        var pools = new Dictionary<PoolKey, StellaEmbeddingPool>();
        var call = new Call(new PoolKey(Fixtures.Model("tiny-new"), StellaPrecision.Float32, 16), new StellaEmbedOptions(), 0, Texts[0]);
        int answered = 0, refused = 0;
        for (int step = 0; step < 200; step++)
        {
            call = call.WithOneChange(random, folders);
            if (random.Next(50) == 0)
            {
                await CloseAsync(pools);
            }

            if (!pools.TryGetValue(call.Pool, out StellaEmbeddingPool? pool))
            {
                pools[call.Pool] = pool = call.Pool.Open();
            }

            bool isAnswered = call.Format switch
            {
                0 => await CompareAsync(pool, call, random, generator => (IEmbeddingGenerator<string, Embedding<float>>)generator, v => v.Vector.ToArray()),
                1 => await CompareAsync(pool, call, random, generator => generator.AsHalf(), v => v.Vector.ToArray()),
                2 => await CompareAsync(pool, call, random, generator => generator.AsInt8(), v => v.Vector.ToArray()),
                _ => await CompareAsync(pool, call, random, generator => generator.AsBinary(), v => v.Vector),
            };
            _ = isAnswered ? answered++ : refused++;
        }

        await CloseAsync(pools);
        Assert.That(answered, Is.GreaterThan(80));
        Assert.That(refused, Is.GreaterThan(10));
    }

    [Test]
    public async Task Documents_and_queries_of_a_service_do_not_share_cached_results()
    {
        await using ServiceProvider provider = Services(services =>
        {
            services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new")).UseDistributedCache();
            services.AddStellaQueryEmbeddings().UseDistributedCache();
        });
        float[] document = await VectorAsync(provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>());
        float[] query = await VectorAsync(provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>(StellaServiceKeys.Query));
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        Assert.That(document, Is.EqualTo(model.Embed("river")));
        Assert.That(query, Is.EqualTo(model.Embed("river", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery })));
    }

    [Test]
    public async Task Services_with_equal_settings_share_cached_results()
    {
        int computed = 0;
        for (int i = 0; i < 2; i++)
        {
            await using ServiceProvider provider = Services(services => services
                .AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
                .UseDistributedCache()
                .Use((values, options, inner, token) =>
                {
                    computed += values.Count();
                    return inner.GenerateAsync(values, options, token);
                }));
            _ = await VectorAsync(provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>());
        }

        Assert.That(computed, Is.EqualTo(1));
    }

    [Test]
    public async Task Options_set_by_middleware_before_the_cache_are_part_of_the_key()
    {
        await using ServiceProvider provider = Services(services =>
        {
            services.AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new")).UseDistributedCache();
            services.AddKeyedStellaEmbeddings("small", options => options.ModelPath = Fixtures.Model("tiny-new"))
                .ConfigureOptions(options => options.Dimensions = 256)
                .UseDistributedCache();
        });
        for (int i = 0; i < 2; i++)
        {
            Assert.That(await VectorAsync(provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>()), Has.Length.Not.EqualTo(256));
            Assert.That(await VectorAsync(provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>("small")), Has.Length.EqualTo(256));
        }
    }

    [Test]
    public async Task Options_set_by_middleware_after_the_cache_are_refused()
    {
        await using ServiceProvider provider = Services(services => services
            .AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
            .UseDistributedCache()
            .ConfigureOptions(options => options.Dimensions = 256));
        Assert.That(
            provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>,
            Throws.InvalidOperationException.With.Message.Contains("Put ConfigureOptions before UseDistributedCache"));
    }

    [Test]
    public async Task Middleware_that_removes_the_key_below_a_cache_is_refused([Values] bool raw)
    {
        await using ServiceProvider provider = Services(services => services
            .AddStellaEmbeddings(options => options.ModelPath = Fixtures.Model("tiny-new"))
            .UseDistributedCache()
            .Use((values, options, inner, token) =>
            {
                options = options!.Clone();
                if (raw)
                {
                    options.RawRepresentationFactory = _ => new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery };
                }
                else
                {
                    options.AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = "s2p" };
                }

                return inner.GenerateAsync(values, options, token);
            }));
        Assert.That(
            async () => await VectorAsync(provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>()),
            Throws.InvalidOperationException.With.Message.Contains(raw ? "RawRepresentationFactory" : "AdditionalProperties"));
    }

    private static IEnumerable<TestCaseData> CachesAround()
    {
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, cache) => new DistributedCachingEmbeddingGenerator<string, Embedding<float>>(generator, cache))).SetArgDisplayNames("constructor");
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, cache) => new DistributedCachingEmbeddingGenerator<string, Embedding<float>>(generator, cache) { JsonSerializerOptions = WithoutReflection }))
            .SetArgDisplayNames("constructor, without JSON reflection");
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, _) => new OwnCache(generator))).SetArgDisplayNames("a cache of the caller");
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, cache) => ((IEmbeddingGenerator<string, Embedding<float>>)generator).AsBuilder().UseDistributedCache(cache).Build()))
            .SetArgDisplayNames("builder of the abstractions");
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, cache) => generator.AsBuilder().Build().AsBuilder().UseDistributedCache(cache).Build())).SetArgDisplayNames("around a chain");
        yield return new TestCaseData((Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>>)(
            static (generator, cache) => generator.AsBuilder().UseDistributedCache(cache).Build().AsBuilder().UseDistributedCache(cache).Build()))
            .SetArgDisplayNames("around a chain with a cache");
    }

    [TestCaseSource(nameof(CachesAround))]
    public async Task A_cache_whose_key_does_not_include_the_model_is_refused(
        Func<StellaEmbeddingGenerator, IDistributedCache, IEmbeddingGenerator<string, Embedding<float>>> wrap)
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        using var generator = new StellaEmbeddingGenerator(pool);
        using IEmbeddingGenerator<string, Embedding<float>> cached = wrap(generator, cache);
        Assert.That(
            async () => await VectorAsync(cached),
            Throws.InvalidOperationException.With.Message.Contains("UseStellaCacheKeys"));
        Assert.That(async () => await cached.GenerateAsync(["river", "stone"]), Throws.InvalidOperationException);
    }

    [Test]
    public async Task An_embedding_can_be_serialized_as_JSON_and_deserialized([Values] bool cached, [Values] bool reflection)
    {
        JsonSerializerOptions json = reflection ? AIJsonUtilities.DefaultOptions : WithoutReflection;
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        using var generator = new StellaEmbeddingGenerator(pool, new StellaEmbedOptions { InvalidTextBehavior = StellaInvalidTextBehavior.Replace });
        using IEmbeddingGenerator<string, Embedding<float>> source = cached ? generator.AsBuilder().UseDistributedCache(cache).Build() : generator;
        Embedding<float> made = (await source.GenerateAsync(["half \ud800"]))[0];
        // Serialize here, and in code that runs on the stack of a cache.
        string stored = JsonSerializer.Serialize(made, json);
        using IEmbeddingGenerator<string, Embedding<float>> around = new OnItsStack(source, () => Assert.That(JsonSerializer.Serialize(made, json), Is.EqualTo(stored)));
        _ = await around.GenerateAsync(["river"]);
        Embedding<float> read = JsonSerializer.Deserialize<Embedding<float>>(JsonSerializer.Serialize(made, json), json)!;
        Assert.That(read.Vector.ToArray(), Is.EqualTo(made.Vector.ToArray()));
        Assert.That(read.GetTokenCount(), Is.EqualTo(made.GetTokenCount()).And.Property(nameof(StellaTokenCount.Replaced)).EqualTo(1));
    }

    [Test]
    public async Task A_model_whose_files_change_gets_another_key()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        await using var pool = new StellaEmbeddingPool(folder.Path, new StellaPoolOptions { MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(100) });
        using var generator = new StellaEmbeddingGenerator(pool);
        using IEmbeddingGenerator<string, Embedding<float>> cached = generator.AsBuilder().UseDistributedCache(cache).Build();
        float[] before = await VectorAsync(cached);
        await UnloadedAsync(pool);
        ChangeHead(folder, 1024);
        float[] after = await VectorAsync(cached);
        Assert.That(after, Is.Not.EqualTo(before));
    }

    [Test]
    public async Task A_model_that_changes_between_key_and_result_gets_the_right_key()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        await using var pool = new StellaEmbeddingPool(folder.Path, new StellaPoolOptions { MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(100) });
        using var generator = new StellaEmbeddingGenerator(pool);
        int calls = 0;
        using IEmbeddingGenerator<string, Embedding<float>> cached = generator.AsBuilder()
            .UseDistributedCache(cache)
            .Use(async (values, options, inner, token) =>
            {
                if (++calls == 1)
                {
                    await UnloadedAsync(pool);
                    ChangeHead(folder, 1024);
                }

                return await inner.GenerateAsync(values, options, token);
            })
            .Build();
        float[] found = await VectorAsync(cached);
        Assert.That(found, Is.EqualTo((await generator.GenerateAsync(["river"]))[0].Vector.ToArray()), "the vector of the current model");
        Assert.That(calls, Is.EqualTo(2));
        Assert.That(await VectorAsync(cached), Is.EqualTo(found));
        Assert.That(calls, Is.EqualTo(2), "the second result is cached with the right key");
    }

    [Test]
    public async Task Texts_that_the_caller_changes_during_the_call_stay_out_of_the_cache()
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        using var generator = new StellaEmbeddingGenerator(pool);
        string[] mine = ["river"];
        using IEmbeddingGenerator<string, Embedding<float>> cached = generator.AsBuilder()
            .UseDistributedCache(cache)
            .Use((values, options, inner, token) =>
            {
                mine[0] = "bread";
                return inner.GenerateAsync(values, options, token);
            })
            .Build();
        float[] expected = (await generator.GenerateAsync(["river"]))[0].Vector.ToArray();
        _ = await cached.GenerateAsync(mine);
        Assert.That((await cached.GenerateAsync(["river"]))[0].Vector.ToArray(), Is.EqualTo(expected));
    }

    private static async Task UnloadedAsync(StellaEmbeddingPool pool)
    {
        while (pool.GetHealth().ModelState == StellaPoolModelState.Loaded)
        {
            await Task.Delay(20);
        }
    }

    /// <summary>Replaces the last weight of a head.</summary>
    private static void ChangeHead(TemporaryFolder folder, int dimension)
    {
        using FileStream weights = File.OpenWrite(folder.File($"2_Dense_{dimension}/model.safetensors"));
        weights.Position = weights.Length - sizeof(float);
        weights.Write(BitConverter.GetBytes(0.5f));
    }

    private static T Pick<T>(Random random, params T[] values) => values[random.Next(values.Length)];

    private static async Task<float[]> VectorAsync(IEmbeddingGenerator<string, Embedding<float>> generator) =>
        (await generator.GenerateAsync(["river"]))[0].Vector.ToArray();

    private ServiceProvider Services(Action<IServiceCollection> add)
    {
        var services = new ServiceCollection();
        services.AddSingleton(cache);
        add(services);
        return services.BuildServiceProvider();
    }

    /// <summary>Compares the results of a generator with the cache and a generator without a cache.</summary>
    /// <returns>Whether the generators returned embeddings. Otherwise both threw the same exception.</returns>
    private async Task<bool> CompareAsync<TEmbedding>(
        StellaEmbeddingPool pool,
        Call asked,
        Random random,
        Func<StellaEmbeddingGenerator, IEmbeddingGenerator<string, TEmbedding>> form,
        Func<TEmbedding, System.Collections.IEnumerable> numbers)
        where TEmbedding : Embedding
    {
        (StellaEmbedOptions options, string[] texts) = (asked.Options, asked.Texts);
        // The options are those of the generator or of the call.
        bool perCall = random.Next(2) == 0;
        using var plain = new StellaEmbeddingGenerator(pool, options);
        using var chained = new StellaEmbeddingGenerator(pool, perCall ? null : options);
        using IEmbeddingGenerator<string, TEmbedding> expected = form(plain);
        using IEmbeddingGenerator<string, TEmbedding> cached = new EmbeddingGeneratorBuilder<string, TEmbedding>(form(chained))
            .UseStellaCacheKeys()
            .UseDistributedCache(cache, caching => caching.JsonSerializerOptions = random.Next(2) == 0 ? WithoutReflection : AIJsonUtilities.DefaultOptions)
            .Build();
        EmbeddingGenerationOptions? call = perCall ? new EmbeddingGenerationOptions { RawRepresentationFactory = _ => options } : null;
        GeneratedEmbeddings<TEmbedding> uncached;
        try
        {
            uncached = await expected.GenerateAsync(texts);
        }
        catch (StellaException e)
        {
            Assert.That(async () => await cached.GenerateAsync(texts, call), Throws.TypeOf(e.GetType()));
            return false;
        }

        GeneratedEmbeddings<TEmbedding> found = await cached.GenerateAsync(texts, call);
        Assert.Multiple(() =>
        {
            Assert.That(found, Has.Count.EqualTo(texts.Length));
            Assert.That(found.Usage!.InputTokenCount, Is.EqualTo(uncached.Usage!.InputTokenCount));
            Assert.That(found.AdditionalProperties, Is.EqualTo(uncached.AdditionalProperties));
            for (int i = 0; i < texts.Length; i++)
            {
                Assert.That(numbers(found[i]), Is.EqualTo(numbers(uncached[i])), texts[i]);
                Assert.That(found[i].ModelId, Is.EqualTo(uncached[i].ModelId));
                Assert.That(found[i].AdditionalProperties, Is.EqualTo(uncached[i].AdditionalProperties));
            }
        });
        return true;
    }

    /// <summary>Represents a cache without entries that runs code when it reads an entry.</summary>
    private sealed class OnItsStack(IEmbeddingGenerator<string, Embedding<float>> inner, Action code)
        : CachingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        protected override string GetCacheKey(params ReadOnlySpan<object?> values) => "";

        protected override Task<Embedding<float>?> ReadCacheAsync(string key, CancellationToken cancellationToken)
        {
            code();
            return Task.FromResult<Embedding<float>?>(null);
        }

        protected override Task WriteCacheAsync(string key, Embedding<float> value, CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Represents a cache that the caller implements.</summary>
    private sealed class OwnCache(IEmbeddingGenerator<string, Embedding<float>> inner) : CachingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        protected override string GetCacheKey(params ReadOnlySpan<object?> values) => "";

        protected override Task<Embedding<float>?> ReadCacheAsync(string key, CancellationToken cancellationToken) =>
            Task.FromResult<Embedding<float>?>(null);

        protected override Task WriteCacheAsync(string key, Embedding<float> value, CancellationToken cancellationToken) =>
            Task.FromResult(JsonSerializer.Serialize(value, WithoutReflection));
    }

    private static async Task CloseAsync(Dictionary<PoolKey, StellaEmbeddingPool> pools)
    {
        foreach (StellaEmbeddingPool pool in pools.Values)
        {
            await pool.DisposeAsync();
        }

        pools.Clear();
    }

    /// <summary>Identifies a pool by its model and options.</summary>
    private sealed record PoolKey(string Path, StellaPrecision Precision, int MaxTokens)
    {
        public StellaEmbeddingPool Open() => new(
            Path, new StellaModelOptions { Precision = Precision, MaxTokens = MaxTokens, Name = "model" });
    }

    /// <summary>Represents a call with all settings that determine its result.</summary>
    private sealed record Call(PoolKey Pool, StellaEmbedOptions Options, int Format, string[] Texts)
    {
        /// <summary>Returns a call that differs in one setting, so that the cache has entries for the same texts.</summary>
        public Call WithOneChange(Random random, OtherModel folders) => random.Next(10) switch
        {
            0 => this with { Pool = Pool with { Path = Pick(random, Fixtures.Model("tiny-new"), folders.Other, Fixtures.Model("tiny-qwen2")) } },
            1 => this with { Pool = Pool with { Precision = Pick(random, StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8) } },
            2 => this with { Pool = Pool with { MaxTokens = Pick(random, 16, 32) } },
            3 => this with { Options = Options with { Prompt = Pick(random, StellaPrompt.Default, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity) } },
            4 => this with { Options = Options with { Dimension = Pick<int?>(random, null, 256) } },
            5 => this with { Options = Options with { Normalize = !Options.Normalize } },
            6 => this with { Options = Options with { LongTextBehavior = Pick(random, StellaLongTextBehavior.Truncate, StellaLongTextBehavior.Error) } },
            7 => this with { Options = Options with { InvalidTextBehavior = Pick(random, StellaInvalidTextBehavior.Replace, StellaInvalidTextBehavior.Error) } },
            8 => this with { Format = random.Next(4) },
            _ => this with { Texts = Pick(random, CacheTests.Texts) },
        };
    }

    /// <summary>Provides a copy of a model with one changed weight of one head.</summary>
    private sealed class OtherModel : IDisposable
    {
        private readonly TemporaryFolder other = Fixtures.Copy("tiny-new");

        public OtherModel() => ChangeHead(other, 256);

        public string Other => other.Path;

        public void Dispose() => other.Dispose();
    }
}
