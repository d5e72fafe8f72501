using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>Health is correct, and a pool without calls recovers by retries.</summary>
internal sealed class HealthTests
{
    [Test]
    public async Task A_pool_whose_load_failed_once_becomes_healthy_without_a_call()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel();
        model.OnLoad = () =>
        {
            if (model.Loads == 1)
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileUnreadable, "the disk hiccuped once");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaModelFolderException>());
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.Reason), Is.EqualTo((
            StellaPoolStatus.Unhealthy, "the model could not be loaded, and is tried again: the disk hiccuped once")));
        clock.Advance(TimeSpan.FromSeconds(1));
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { Status: StellaPoolStatus.Healthy, ModelState: StellaPoolModelState.Loaded, LastLoadError: null }, "the pool has recovered");
        Assert.That(model.Loads, Is.EqualTo(2));
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_breaker_opened_by_failed_loads_closes_when_a_retried_load_succeeds()
    {
        var clock = new FakeTimeProvider();
        bool fails = true;
        var model = new FakeModel { OnLoad = () => _ = fails ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0 };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaException>());
        }

        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaCircuitOpenException>());
        fails = false;
        clock.Advance(TimeSpan.FromMinutes(1));
        await Eventually.IsTrueAsync(() => pool.GetHealth().Status == StellaPoolStatus.Healthy, "the pool has recovered without a call");
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_loaded_by_a_retry_is_unloaded_after_the_idle_timeout_and_not_before()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel();
        model.OnLoad = () => _ = model.Loads == 1 ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0;
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { TimeProvider = clock, MinWorkers = 0, IdleTimeout = TimeSpan.FromSeconds(100) });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaException>());
        clock.Advance(TimeSpan.FromSeconds(1));
        await Eventually.IsTrueAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Loaded, "the model is loaded");
        clock.Advance(TimeSpan.FromSeconds(75));
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded));
        clock.Advance(TimeSpan.FromSeconds(50));
        await Eventually.IsTrueAsync(() => model.Models == 0, "the model is unloaded");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_failed_load_is_not_retried_after_a_call_has_loaded_the_model()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel();
        model.OnLoad = () => _ = model.Loads == 1 ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0;
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { TimeProvider = clock, MinWorkers = 0, IdleTimeout = TimeSpan.FromMilliseconds(400) });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaException>());
        _ = await pool.EmbedAsync("two");
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, "the pool is idle");
        clock.Advance(TimeSpan.FromMilliseconds(600));
        await Eventually.IsTrueAsync(() => model.Models == 0, "the model is unloaded before the retry is due");
        clock.Advance(TimeSpan.FromMilliseconds(600));
        Assert.That((pool.GetHealth().ModelState, model.Loads), Is.EqualTo((StellaPoolModelState.Unloaded, 2)));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_slow_load_is_reported_as_degraded_until_it_ends()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        clock.Advance(TimeSpan.FromSeconds(60));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        clock.Advance(TimeSpan.FromSeconds(5));
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.Reason), Is.EqualTo((StellaPoolStatus.Degraded, "the model has been loading for 65 s")));
        pause.Release();
        Assert.That(await call, Is.EqualTo(FakeModel.Vector("one")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task SlowLoadThreshold_sets_the_time_after_which_a_load_is_reported_as_degraded()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock, SlowLoadThreshold = TimeSpan.FromSeconds(2) });
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        clock.Advance(TimeSpan.FromSeconds(3));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Degraded));
        pause.Release();
        _ = await call;
        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
