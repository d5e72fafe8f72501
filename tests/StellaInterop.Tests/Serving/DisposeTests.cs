using Microsoft.Extensions.Time.Testing;
using StellaInterop.Tests.Memory;

namespace StellaInterop.Tests.Serving;

/// <summary>Draining and disposing on any thread and at any time.</summary>
internal sealed class DisposeTests
{
    [Test]
    public async Task A_drain_answers_accepted_calls_and_refuses_new_calls()
    {
        using var pause = new PausePoint();
        int embedded = 0;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                _ = Interlocked.Add(ref embedded, batch.Texts.Length);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]>[] accepted = [.. Enumerable.Range(0, 30).Select(i => pool.EmbedAsync($"{i}"))];
        await pause.EnteredAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromMinutes(1));
        await Eventually.IsTrueAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Closed, "the drain has begun");
        Assert.That(async () => await pool.EmbedAsync("late"), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(drain.IsCompleted, Is.False);
        pause.Release();
        await drain;
        Assert.That(embedded, Is.EqualTo(accepted.Length));

        // All calls are answered when the drain ends. The tasks of the callers may complete a little later, on the thread pool.
        float[][] vectors = await Task.WhenAll(accepted).WaitAsync(Eventually.Timeout);
        Assert.That(vectors, Is.EqualTo(Enumerable.Range(0, 30).Select(i => FakeModel.Vector($"{i}"))));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_expired_drain_ends_the_remaining_calls()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        Task<float[]>[] accepted = [.. Enumerable.Range(0, 30).Select(i => pool.EmbedAsync($"{i}"))];
        await pause.EnteredAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromSeconds(5));
        await Eventually.IsTrueAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Closed, "the drain has begun");
        while (!drain.IsCompleted)
        {
            clock.Advance(TimeSpan.FromSeconds(5));
            await Task.Yield();
        }

        await drain;
        foreach (Task<float[]> call in accepted)
        {
            Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_ends_a_drain_early_and_can_run_concurrently_and_repeatedly()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        ValueTask slow = pool.DisposeAsync();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(pool.Dispose)));
        await slow;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_waits_for_a_running_load_and_frees_its_model()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        Task dispose = Task.Run(pool.Dispose);
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        pause.Release();
        await dispose;
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_unused_pool_is_disposed_without_loading_the_model()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(model.Loads, Is.Zero);
    }

    [Test]
    public async Task A_drain_timeout_outside_the_timer_range_is_refused_and_the_pool_stays_open([Values(-1L, long.MaxValue)] long ticks)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That(() => pool.DrainAsync(TimeSpan.FromTicks(ticks)), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("49 days"));
        Assert.That(await pool.EmbedAsync("one"), Is.EqualTo(FakeModel.Vector("one")), "the pool is still open");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_whose_dispose_throws_stops_neither_the_close_nor_the_next_dispose()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var model = new FakeModel { OnDispose = () => throw new IOException("The model cannot be disposed.") };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await pool.DrainAsync(TimeSpan.FromMinutes(1));
        pool.Dispose();
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Refused_calls_distinguish_a_draining_pool_from_a_disposed_pool()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromMinutes(1));
        Assert.That(async () => await pool.EmbedAsync("two"), Throws.TypeOf<StellaPoolClosedException>());
        await Task.Run(pool.Dispose);
        await drain;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(async () => await pool.EmbedAsync("three"), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(async () => await pool.WarmUpAsync(), Throws.TypeOf<ObjectDisposedException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task DisposeAsync_limits_a_running_drain_to_the_DrainTimeout()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock, DrainTimeout = TimeSpan.FromSeconds(30) });
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromHours(1));
        Task dispose = pool.DisposeAsync().AsTask();
        for (int i = 0; i < 60 && !dispose.IsCompleted; i++)
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(10);
        }

        await dispose.WaitAsync(Eventually.Timeout);
        await drain;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static readonly string[] Records =
    [
        "WorkerStarted", // by a worker, while the load waits for it
        "Loaded", // by the thread of a load
        "ForwardFailed", // by a worker that keeps running
        "WorkerReplaced", // by a worker that broke
        "WorkerEnded", // by a worker that was asked to stop
        "Unloaded", // by a timer
        "TextFailed", // on the path of a caller
        "LoadFailed", // by the thread of a failed load
        "Draining", // on the path that closes the pool
        "Closed", // on the same path, at its end
    ];

    [Test]
    public async Task Dispose_called_by_a_logger_returns_on_any_thread([ValueSource(nameof(Records))] string record, [Values] bool isAsync)
    {
        var clock = new FakeTimeProvider();
        int forwards = 0;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                // The first forward pass fails without breaking its worker. The third breaks its worker.
                if (Interlocked.Increment(ref forwards) is 1 or 3)
                {
                    throw new StellaException(forwards == 1 ? StellaErrorCode.ForwardFailed : StellaErrorCode.Panic, "thrown by the test");
                }
            },
        };
        model.OnLoad = () => _ = record == "LoadFailed" ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0;
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        int disposals = 0;
        using var loggers = new CallbackLoggerFactory(id =>
        {
            if (id.Name == record && Interlocked.Increment(ref disposals) == 1)
            {
                if (isAsync)
                {
                    pool!.DisposeAsync().AsTask().GetAwaiter().GetResult();
                }
                else
                {
                    pool!.Dispose();
                }

                returned.SetResult();
            }
        });
        pool = TestPool.Create(model, TestPool.Options with
        {
            DrainTimeout = TimeSpan.Zero,
            LoggerFactory = loggers,
            TimeProvider = clock,
            MinWorkers = record == "Unloaded" ? 0 : 1,
            MaxWorkers = 2,
            IdleTimeout = TimeSpan.FromSeconds(10),
        });
        for (int i = 0; i < 8 && disposals == 0; i++)
        {
            try
            {
                _ = await pool.EmbedAsync(record == "TextFailed" ? ["one", "two"] : ["one"], record == "TextFailed" ? new StellaEmbedOptions { Dimension = 3 } : null)
                    .WaitAsync(Eventually.Timeout);
            }
            catch (Exception e) when (e is StellaException or ObjectDisposedException)
            {
            }

            clock.Advance(TimeSpan.FromSeconds(6));
        }

        clock.Advance(TimeSpan.FromMinutes(1));
        if (record is "WorkerEnded" or "Draining" or "Closed")
        {
            await Task.Run(pool.Dispose).WaitAsync(Eventually.Timeout);
        }

        // A deadlock between worker and pool would last for the join timeout of 30 s.
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Eventually.IsTrueAsync(() => model.Models == 0 && model.Sessions == 0, "the last thread has disposed the model");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_called_during_the_load_returns_and_the_load_frees_the_model()
    {
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnLoad = () =>
            {
                // A logger of the native library can do the same.
                pool!.Dispose();
                returned.SetResult();
            },
        };
        pool = TestPool.Create(model);
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Eventually.IsTrueAsync(() => model.Models == 0 && model.Sessions == 0, "the load has disposed the model");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_called_at_the_start_of_a_session_and_at_the_end_of_its_worker_returns([Values] bool startFails)
    {
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnSession = _ =>
            {
                // A logger of the native library can do the same while the load waits for this worker.
                pool!.Dispose();
                _ = startFails ? throw new StellaException(StellaErrorCode.Internal, "no session") : 0;
            },
        };
        using var loggers = new CallbackLoggerFactory(id =>
        {
            pool!.Dispose();
            if (id.Name is "WorkerEnded" or "WorkerRefused")
            {
                returned.TrySetResult();
            }
        });
        pool = TestPool.Create(model, TestPool.Options with { LoggerFactory = loggers });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Eventually.IsTrueAsync(() => model.Models == 0 && model.Sessions == 0, "the load has disposed the model");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_logger_that_disposes_the_pool_at_each_record_does_not_deadlock([Values] bool loadFails)
    {
        var ended = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnLoad = () =>
            {
                pool!.Dispose();
                _ = loadFails ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0;
            },
        };
        using var loggers = new CallbackLoggerFactory(id =>
        {
            pool!.Dispose();
            if (id.Name == "LoadFailed")
            {
                ended.TrySetResult();
            }
        });
        pool = TestPool.Create(model, TestPool.Options with { LoggerFactory = loggers });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_load_that_ends_during_the_close_frees_its_model()
    {
        for (int round = 0; round < 200; round++)
        {
            using var cancel = new CancellationTokenSource();
            ValueTask disposed = default;
            StellaEmbeddingPool? pool = null;
            var model = new FakeModel();
            model.OnLoad = () =>
            {
                // The caller of this load is gone, and the close runs concurrently with the load.
                cancel.Cancel();
                disposed = pool!.DisposeAsync();
                Thread.SpinWait(20 * round);
            };
            pool = TestPool.Create(model);
            Assert.That(async () => await pool.WarmUpAsync(cancel.Token), Throws.InstanceOf<OperationCanceledException>());
            await Eventually.IsTrueAsync(() => model.Loads == 1, "the load has begun");
            await disposed;
            await Eventually.IsTrueAsync(() => model.Models == 0 && model.Sessions == 0, $"the model of round {round} is disposed");
            await TestPool.DisposeAndCheckAsync(pool, model);
        }
    }

    [Test]
    public async Task Dispose_frees_everything_after_a_worker_has_disposed_the_pool()
    {
        using var release = new ManualResetEventSlim();
        var disposed = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel();
        model.OnForward = _ =>
        {
            pool!.Dispose();
            disposed.TrySetResult();
            Eventually.IsSet(release);
        };
        pool = TestPool.Create(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await disposed.Task.WaitAsync(TimeSpan.FromSeconds(25));
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(model.Models, Is.EqualTo(1), "the worker still uses the model");
        Task dispose = Task.Run(pool.Dispose);
        release.Set();
        await dispose.WaitAsync(Eventually.Timeout);
        Assert.That((model.Models, model.Sessions), Is.EqualTo((0, 0)), "everything is freed when Dispose returns");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
