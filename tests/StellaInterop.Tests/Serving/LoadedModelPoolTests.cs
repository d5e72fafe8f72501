using StellaInterop.Interop;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Pools over a model that the caller has loaded.</summary>
[NonParallelizable]
internal sealed class LoadedModelPoolTests
{
    private static readonly string[] Texts = ["bread", "river", "a longer text about bread and rivers"];

    private static ulong Loads => NativeMethods.stella_counter((uint)NativeCounter.Loads);

    [Test]
    public async Task A_pool_over_a_loaded_model_loads_nothing_and_returns_its_vectors()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1, Name = "mine" });
        await using var pool = new StellaEmbeddingPool(model, new StellaPoolOptions { MaxWorkers = 2 });
        ulong loads = Loads;
        Assert.That(pool.Info, Is.SameAs(model.Info), "before the first call");
        StellaEmbeddings found = await pool.EmbedAsync(Texts);
        Assert.Multiple(() =>
        {
            Assert.That(Loads, Is.EqualTo(loads));
            Assert.That(found.Vectors.ToArray(), Is.EqualTo(model.Embed(Texts).Vectors.ToArray()));
            Assert.That(pool.Info, Is.SameAs(model.Info));
            Assert.That(pool.ModelName, Is.EqualTo("mine"));
        });
    }

    [Test]
    public async Task A_loaded_model_stays_usable_when_its_pool_is_idle_or_disposed()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        float[] expected = model.Embed("bread");
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        var pool = new StellaEmbeddingPool(
            model, new StellaPoolOptions { MinWorkers = 0, IdleTimeout = TimeSpan.FromSeconds(1), TimeProvider = clock });
        _ = await pool.EmbedAsync("bread");
        await Eventually.IsTrueAsync(
            () =>
            {
                clock.Advance(TimeSpan.FromSeconds(1));
                return pool.GetHealth().ModelState == StellaPoolModelState.Unloaded;
            },
            "the idle pool has stopped its workers");
        Assert.That(pool.GetHealth().WorkerCount, Is.Zero);
        Assert.That(await pool.EmbedAsync("bread"), Is.EqualTo(expected), "the pool works after it was idle");
        await pool.DisposeAsync();
        Assert.That(model.Embed("bread"), Is.EqualTo(expected), "the model works after the pool was disposed");
    }

    [Test]
    public async Task Calls_throw_ObjectDisposedException_after_the_model_of_the_pool_was_disposed()
    {
        StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        await using var pool = new StellaEmbeddingPool(model);
        model.Dispose();
        for (int call = 0; call < 10; call++)
        {
            Assert.That(async () => await pool.EmbedAsync("bread"), Throws.TypeOf<ObjectDisposedException>(), "the circuit breaker stays closed");
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Unhealthy));
        Assert.That(() => new StellaEmbeddingPool(model), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public async Task The_budget_of_a_pool_over_a_loaded_model_counts_only_its_workers()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        var governor = new StellaMemoryGovernor();
        await using var pool = new StellaEmbeddingPool(model, new StellaPoolOptions { Governor = governor, MaxWorkers = 1 });
        _ = await pool.WarmUpAsync();
        long worker = StellaEmbeddingPool.EstimateMemory(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 }).SessionBytes;
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(worker));
    }

    [Test]
    public async Task A_pool_over_a_loaded_model_does_not_need_the_folder()
    {
        using var folder = new TemporaryFolder();
        string copy = folder.File("model");
        foreach (string file in Directory.EnumerateFiles(Fixtures.Model("tiny-new"), "*", SearchOption.AllDirectories))
        {
            string path = Path.Combine(copy, Path.GetRelativePath(Fixtures.Model("tiny-new"), file));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.Copy(file, path);
        }

        using StellaModel model = StellaModel.Load(copy, new StellaModelOptions { Threads = 1 });
        var governor = new StellaMemoryGovernor();
        await using var early = new StellaEmbeddingPool(model, new StellaPoolOptions { Governor = governor, MaxWorkers = 1 });
        Directory.Delete(copy, recursive: true);
        await using var late = new StellaEmbeddingPool(model, new StellaPoolOptions { Governor = new StellaMemoryGovernor() });
        Assert.That(await early.EmbedAsync("bread"), Is.EqualTo(model.Embed("bread")));
        Assert.That(await late.EmbedAsync("bread"), Is.EqualTo(model.Embed("bread")));
        Assert.That(governor.GetStatus().ReservedBytes, Is.LessThan(model.Info.MemoryEstimateBytes), "one worker, estimated before the folder was deleted");
    }

    [Test]
    public void The_estimate_of_a_pool_grows_with_its_workers()
    {
        string path = Fixtures.Model("tiny-new");
        var one = new StellaModelOptions { Threads = 1 };
        StellaMemoryEstimate small = StellaEmbeddingPool.EstimateMemory(path, one, new StellaPoolOptions { MaxWorkers = 1 });
        StellaMemoryEstimate large = StellaEmbeddingPool.EstimateMemory(path, one, new StellaPoolOptions { MaxWorkers = 64 });
        Assert.Multiple(() =>
        {
            Assert.That(large.WeightsBytes, Is.EqualTo(small.WeightsBytes));
            Assert.That(large.SessionBytes, Is.EqualTo(small.SessionBytes));
            Assert.That(large.TotalBytes, Is.GreaterThanOrEqualTo(64 * small.SessionBytes));
            Assert.That(
                () => StellaEmbeddingPool.EstimateMemory(path, new StellaPoolOptions { MaxWorkers = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [Test]
    public async Task Options_changed_after_the_constructor_have_no_effect()
    {
        var modelOptions = new StellaModelOptions { Threads = 1, MaxTokens = 8 };
        var options = new StellaPoolOptions { MaxQueuedCalls = 3 };
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"), modelOptions, options);
        (modelOptions.MaxTokens, options.MaxQueuedCalls, options.CircuitBreaker.MaxProbes, options.MinWorkers) = (64, -1, -1, -1);
        Assert.That((await pool.WarmUpAsync()).MaxTokens, Is.EqualTo(8));
    }
}
