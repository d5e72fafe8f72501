using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Pooling;

namespace StellaInterop.Tests.Pooling;

/// <summary>Loading, growing, shrinking, draining and disposing.</summary>
internal sealed class LifecycleTests
{
    [Test]
    public async Task Sixty_four_first_callers_share_one_load()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnLoad = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]>[] callers = [.. Enumerable.Range(0, 64).Select(i => Task.Run(() => pool.EmbedAsync($"{i}")))];
        await gate.ArrivedAsync();
        await Wait.UntilAsync(() => pool.GetHealth().QueuedCalls == 64, "all callers wait");
        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Loading));
        gate.Open();
        await Task.WhenAll(callers);
        Assert.That(model.Loads, Is.EqualTo(1));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_load_that_fails_is_told_to_all_at_once_and_the_next_call_tries_again()
    {
        using var gate = new Gate();
        var model = new FakeModel();
        model.OnLoad = () =>
        {
            if (model.Loads == 1)
            {
                gate.Pass();
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "not there");
            }
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]>[] callers = [.. Enumerable.Range(0, 10).Select(i => pool.EmbedAsync($"{i}"))];
        gate.Open();
        foreach (Task<float[]> caller in callers)
        {
            Assert.That(async () => await caller, Throws.TypeOf<StellaModelFolderException>().With.Message.EqualTo("not there"));
        }

        Assert.That(model.Loads, Is.EqualTo(1));
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.LastLoadError!.Message), Is.EqualTo((StellaPoolStatus.Unhealthy, "not there")));
        Assert.That(await pool.EmbedAsync("again"), Is.EqualTo(FakeModel.Vector("again")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Who_waits_for_a_load_is_answered_at_its_own_deadline()
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnLoad = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = clock });
        Task<float[]> hurried = pool.EmbedAsync("hurried", null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(1) });
        Task<float[]> patient = pool.EmbedAsync("patient");
        await gate.ArrivedAsync();
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.That(async () => await hurried, Throws.TypeOf<StellaTimeoutException>());
        gate.Open();
        Assert.That(await patient, Is.EqualTo(FakeModel.Vector("patient")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Workers_come_when_work_waits_and_go_when_there_is_none([Values] bool areFreed)
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel
        {
            OnForward = _ => gate.Pass(),
            OnSessionDispose = () => _ = areFreed ? 0 : throw new InvalidOperationException("it stays"),
        };
        StellaEmbeddingPool pool = PoolOf.Fake(
            model, PoolOf.Options with { MaxWorkers = 3, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        Task first = pool.EmbedAsync("first");
        await gate.ArrivedAsync();
        Assert.That(pool.GetHealth().Workers, Is.EqualTo(1), "nothing waits");
        Task[] more = [.. Enumerable.Range(0, 40).Select(i => pool.EmbedAsync($"{i:00}{new string('x', 97)}"))];
        await gate.ArrivedAsync();
        await gate.ArrivedAsync();
        Assert.That(pool.GetHealth().Workers, Is.EqualTo(3));
        gate.Open();
        await Task.WhenAll([first, .. more]);
        await Wait.UntilAsync(() => pool.GetHealth().BusyWorkers == 0, "all are done");
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.That(pool.GetHealth().Workers, Is.EqualTo(3), "not yet");
        clock.Advance(TimeSpan.FromSeconds(10));
        await Wait.UntilAsync(() => model.Sessions == 1, "two have gone");
        Assert.That(await pool.EmbedAsync("still"), Is.EqualTo(FakeModel.Vector("still")));
        Assert.That((pool.GetHealth().Workers, model.SessionsMade), Is.EqualTo((1, 3)), "a worker that was told to end has no successor");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public Task A_worker_more_that_cannot_be_had_is_no_error() => OneWorkerServesAllAsync("no session");

    [Test]
    public async Task The_error_of_a_worker_that_could_not_start_is_told_by_the_pool_and_not_by_the_runtime()
    {
        const string Error = "no session, and nobody waits for it";
        var unseen = new ConcurrentQueue<string>();
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            await OneWorkerServesAllAsync(Error);
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }

        Assert.That(unseen, Is.Empty);

        // Tests run side by side, and others may leave errors of their own.
        void Note(object? sender, UnobservedTaskExceptionEventArgs e)
        {
            foreach (Exception inner in e.Exception.InnerExceptions.Where(inner => inner.Message == Error))
            {
                unseen.Enqueue(inner.Message);
            }
        }
    }

    [Test]
    public async Task Without_workers_that_stay_the_model_goes_and_comes_back()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(
            model, PoolOf.Options with { MinWorkers = 0, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        _ = await pool.EmbedAsync("one");
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.That(model.Models, Is.EqualTo(1));
        clock.Advance(TimeSpan.FromSeconds(10));
        await Wait.UntilAsync(() => model.Models == 0 && model.Sessions == 0, "it is unloaded");
        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Unloaded));
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        Assert.That(model.Loads, Is.EqualTo(2));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_model_in_use_stays()
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        StellaEmbeddingPool pool = PoolOf.Fake(
            model, PoolOf.Options with { MinWorkers = 0, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        clock.Advance(TimeSpan.FromSeconds(100));
        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Loaded));
        gate.Open();
        Assert.That(await call, Is.EqualTo(FakeModel.Vector("one")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task An_idle_model_makes_room_for_another()
    {
        using var system = new FakeSystem();
        // What the process uses already, and the fake model with its worker twice.
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = (1000 * FakeSystem.MiB) + (2 * 1160) });
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await Wait.UntilAsync(() => pool.GetHealth() is { BusyWorkers: 0, QueuedCalls: 0 }, "it is idle");
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(1010 + 50), "weights and tokenizer, and a worker");
        governor.Reserve("a test", 1000).Dispose();
        Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Loaded), "there was room for both");

        using (governor.Reserve("a test", 2 * 1160))
        {
            Assert.That(pool.GetHealth().Model, Is.EqualTo(StellaPoolModelState.Unloaded));
            var refused = Assert.ThrowsAsync<StellaMemoryException>(() => pool.EmbedAsync("two"))!;
            Assert.That((refused.Code, refused.RequestedBytes), Is.EqualTo((StellaErrorCode.MemoryExhausted, 1110L)));
            Assert.That(refused.Message, Does.Contain("fake"));
        }

        Assert.That(await pool.EmbedAsync("three"), Is.EqualTo(FakeModel.Vector("three")));
        await PoolOf.AllIsBackAsync(pool, model);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
    }

    [Test]
    public async Task A_pool_that_grows_for_nobody_unloads_no_model()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var clock = new FakeTimeProvider();
        var threads = new List<Thread>();
        StellaPoolOptions options = PoolOf.Options with
        {
            Governor = governor,
            TimeProvider = clock,
            MinWorkers = 2,
            MaxWorkers = 2,
            StartThread = thread =>
            {
                // So that the pools begin with one worker and have to grow.
                if (thread.Name == "stella worker 2")
                {
                    throw new OutOfMemoryException("Thread failed to start.");
                }

                lock (threads)
                {
                    thread.UnsafeStart();
                    threads.Add(thread);
                }
            },
        };
        FakeModel[] models = [new(), new()];
        StellaEmbeddingPool[] pools = [.. models.Select(model => PoolOf.Fake(model, options))];
        foreach (StellaEmbeddingPool pool in pools)
        {
            _ = await pool.EmbedAsync("one");
            await Wait.UntilAsync(() => pool.GetHealth() is { BusyWorkers: 0, QueuedCalls: 0 }, "it is idle");
        }

        using MemoryReservation rest = governor.Reserve("the rest", governor.GetStatus().AvailableBytes);
        int started() => threads.Count;
        for (int i = 0; i < 5; i++)
        {
            // Beyond the pause after a refusal, and the time of the maintenance that grows the pool.
            int before = started();
            clock.Advance(TimeSpan.FromSeconds(60));
            await Wait.UntilAsync(() => started() >= before + 2 && pools.All(pool => pool.GetHealth().Workers == 1), "both have tried to grow");
        }

        foreach ((FakeModel model, StellaEmbeddingPool pool) in models.Zip(pools))
        {
            Assert.That((pool.GetHealth().Model, model.Loads), Is.EqualTo((StellaPoolModelState.Loaded, 1)));
            await PoolOf.AllIsBackAsync(pool, model);
        }
    }

    [Test]
    public async Task A_session_that_cannot_be_freed_gives_its_memory_back()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var model = new FakeModel { OnSessionDispose = () => throw new InvalidOperationException("it stays") };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await PoolOf.AllIsBackAsync(pool, model);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
    }

    [Test]
    public async Task A_load_that_hangs_keeps_nothing_of_the_calls_that_were_answered_meanwhile()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnLoad = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        var first = Start();
        await gate.ArrivedAsync();
        List<WeakReference> texts = [first, Start(), Start()];
        await Wait.UntilAsync(() => pool.GetHealth().QueuedCalls == 0, "all are answered");
        await Wait.UntilAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return texts.TrueForAll(text => !text.IsAlive);
            },
            "their texts are gone");
        gate.Open();
        await PoolOf.AllIsBackAsync(pool, model);

        [MethodImpl(MethodImplOptions.NoInlining)]
        WeakReference Start()
        {
            string text = new('x', 50);
            _ = pool.EmbedAsync(text, null, new StellaCallOptions { Timeout = TimeSpan.FromMilliseconds(20) })
                .ContinueWith(static task => task.Exception, TaskScheduler.Default);
            return new WeakReference(text);
        }
    }

    [Test]
    public async Task A_drain_answers_what_was_accepted_and_takes_no_more()
    {
        using var gate = new Gate();
        int embedded = 0;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                gate.Pass();
                _ = Interlocked.Add(ref embedded, batch.Texts.Length);
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]>[] accepted = [.. Enumerable.Range(0, 30).Select(i => pool.EmbedAsync($"{i}"))];
        await gate.ArrivedAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromMinutes(1));
        await Wait.UntilAsync(() => pool.GetHealth().Model == StellaPoolModelState.Closed, "the drain has begun");
        Assert.That(async () => await pool.EmbedAsync("late"), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(drain.IsCompleted, Is.False);
        gate.Open();
        await drain;
        Assert.That(embedded, Is.EqualTo(accepted.Length));

        // The drain has their answers; that a caller's own task has ended too may take the thread pool a moment longer.
        float[][] vectors = await Task.WhenAll(accepted).WaitAsync(Wait.Limit);
        Assert.That(vectors, Is.EqualTo(Enumerable.Range(0, 30).Select(i => FakeModel.Vector($"{i}"))));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_drain_whose_time_is_over_ends_the_rest()
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = clock });
        Task<float[]>[] accepted = [.. Enumerable.Range(0, 30).Select(i => pool.EmbedAsync($"{i}"))];
        await gate.ArrivedAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromSeconds(5));
        await Wait.UntilAsync(() => pool.GetHealth().Model == StellaPoolModelState.Closed, "the drain has begun");
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

        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_cuts_a_drain_short_and_may_come_from_anywhere_more_than_once()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        ValueTask slow = pool.DisposeAsync();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(pool.Dispose)));
        await slow;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_waits_for_a_load_and_frees_what_it_made()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnLoad = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        Task dispose = Task.Run(pool.Dispose);
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        gate.Open();
        await dispose;
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_pool_that_nobody_called_is_disposed_too()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        await PoolOf.AllIsBackAsync(pool, model);
        Assert.That(model.Loads, Is.Zero);
    }

    [Test]
    public async Task Warm_up_loads_and_tells_what_the_model_is()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(pool.DefaultDimension, Is.Null);
        Assert.That((await pool.WarmUpAsync()).DefaultDimension, Is.EqualTo(FakeModel.DefaultDimension));
        Assert.That((pool.ModelName, pool.DefaultDimension), Is.EqualTo(("fake", (int?)FakeModel.DefaultDimension)));
        Assert.That((model.Loads, model.Forwards), Is.EqualTo((1, 1)));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_time_that_no_timer_takes_is_refused_before_anything_closes([Values(-1L, long.MaxValue)] long ticks)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(() => pool.DrainAsync(TimeSpan.FromTicks(ticks)), Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("49 days"));
        Assert.That(await pool.EmbedAsync("one"), Is.EqualTo(FakeModel.Vector("one")), "the pool is open");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_model_that_cannot_be_freed_keeps_neither_the_other_steps_nor_the_next_dispose_from_success()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var model = new FakeModel { OnDispose = () => throw new IOException("it stays") };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await pool.DrainAsync(TimeSpan.FromMinutes(1));
        pool.Dispose();
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Calls_are_told_whether_the_pool_drains_or_is_disposed()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromMinutes(1));
        Assert.That(async () => await pool.EmbedAsync("two"), Throws.TypeOf<StellaPoolClosedException>());
        await Task.Run(pool.Dispose);
        await drain;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(async () => await pool.EmbedAsync("three"), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(async () => await pool.WarmUpAsync(), Throws.TypeOf<ObjectDisposedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task DisposeAsync_waits_no_longer_than_its_own_time_for_a_drain_that_has_more()
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = clock, DrainTimeout = TimeSpan.FromSeconds(30) });
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromHours(1));
        Task dispose = pool.DisposeAsync().AsTask();
        for (int i = 0; i < 60 && !dispose.IsCompleted; i++)
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(10);
        }

        await dispose.WaitAsync(Wait.Limit);
        await drain;
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    private static readonly string[] Records =
    [
        "WorkerStarted", // a worker, while the load waits for it
        "Loaded", // the thread of a load
        "ForwardFailed", // a worker in the middle of its work
        "WorkerReplaced", // a worker that is leaving
        "WorkerEnded", // a worker that was told to end
        "Unloaded", // a timer
        "CallFailed", // the path of a caller
        "LoadFailed", // the thread of a load that failed
        "Draining", // the path of whoever closes the pool
        "Closed", // the same at the end
    ];

    [Test]
    public async Task Dispose_returns_at_once_from_a_logger_on_any_thread([ValueSource(nameof(Records))] string record, [Values] bool isAsync)
    {
        var clock = new FakeTimeProvider();
        int forwards = 0;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                // The first forward fails and costs no worker, the second costs one.
                if (Interlocked.Increment(ref forwards) is 1 or 3)
                {
                    throw new StellaException(forwards == 1 ? StellaErrorCode.ForwardFailed : StellaErrorCode.Panic, "made by a test");
                }
            },
        };
        model.OnLoad = () => _ = record == "LoadFailed" ? throw new StellaException(StellaErrorCode.Internal, "no load") : 0;
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        int disposals = 0;
        using var loggers = new ListeningLoggers(id =>
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
        pool = PoolOf.Fake(model, PoolOf.Options with
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
                _ = await pool.EmbedAsync(record == "CallFailed" ? ["one", "two"] : ["one"], record == "CallFailed" ? new StellaEmbedOptions { Dimension = 3 } : null)
                    .WaitAsync(Wait.Limit);
            }
            catch (Exception e) when (e is StellaException or ObjectDisposedException)
            {
            }

            clock.Advance(TimeSpan.FromSeconds(6));
        }

        clock.Advance(TimeSpan.FromMinutes(1));
        if (record is "WorkerEnded" or "Draining" or "Closed")
        {
            await Task.Run(pool.Dispose).WaitAsync(Wait.Limit);
        }

        // A worker that waits for the pool, which waits for the worker, would take the 30 s after which workers are given up.
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Wait.UntilAsync(() => model.Models == 0 && model.Sessions == 0, "the last thread frees the model");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_returns_from_the_load_itself_and_the_load_frees_what_it_made()
    {
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnLoad = () =>
            {
                // As a logger of the native library does.
                pool!.Dispose();
                returned.SetResult();
            },
        };
        pool = PoolOf.Fake(model);
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Wait.UntilAsync(() => model.Models == 0 && model.Sessions == 0, "the load frees the model");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_returns_from_the_start_of_a_session_and_again_when_the_worker_leaves([Values] bool startFails)
    {
        var returned = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnSession = _ =>
            {
                // As a logger of the native library does, while the load waits for this worker.
                pool!.Dispose();
                _ = startFails ? throw new StellaException(StellaErrorCode.Internal, "no session") : 0;
            },
        };
        using var loggers = new ListeningLoggers(id =>
        {
            pool!.Dispose();
            if (id.Name is "WorkerEnded" or "WorkerRefused")
            {
                returned.TrySetResult();
            }
        });
        pool = PoolOf.Fake(model, PoolOf.Options with { LoggerFactory = loggers });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await returned.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await Wait.UntilAsync(() => model.Models == 0 && model.Sessions == 0, "the load frees the model");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_logger_that_disposes_the_pool_at_each_record_never_waits_for_itself([Values] bool loadFails)
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
        using var loggers = new ListeningLoggers(id =>
        {
            pool!.Dispose();
            if (id.Name == "LoadFailed")
            {
                ended.TrySetResult();
            }
        });
        pool = PoolOf.Fake(model, PoolOf.Options with { LoggerFactory = loggers });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaPoolClosedException>());
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(25));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_load_that_ends_while_the_pool_closes_leaves_nothing_behind()
    {
        for (int round = 0; round < 200; round++)
        {
            using var cancel = new CancellationTokenSource();
            ValueTask disposed = default;
            StellaEmbeddingPool? pool = null;
            var model = new FakeModel();
            model.OnLoad = () =>
            {
                // Nobody waits for the thread of this load any more, and the close runs beside it.
                cancel.Cancel();
                disposed = pool!.DisposeAsync();
                Thread.SpinWait(20 * round);
            };
            pool = PoolOf.Fake(model);
            Assert.That(async () => await pool.WarmUpAsync(cancel.Token), Throws.InstanceOf<OperationCanceledException>());
            await Wait.UntilAsync(() => model.Loads == 1, "it is being loaded");
            await disposed;
            await Wait.UntilAsync(() => model.Models == 0 && model.Sessions == 0, $"round {round} frees the model");
            await PoolOf.AllIsBackAsync(pool, model);
        }
    }

    [Test]
    public async Task Dispose_from_elsewhere_frees_everything_also_after_a_worker_disposed_the_pool()
    {
        using var gate = new ManualResetEventSlim();
        var disposed = new TaskCompletionSource();
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel();
        model.OnForward = _ =>
        {
            pool!.Dispose();
            disposed.TrySetResult();
            Wait.Until(gate);
        };
        pool = PoolOf.Fake(model);
        Task<float[]> call = pool.EmbedAsync("one");
        await disposed.Task.WaitAsync(TimeSpan.FromSeconds(25));
        Assert.That(async () => await call, Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(model.Models, Is.EqualTo(1), "the worker is still there");
        Task elsewhere = Task.Run(pool.Dispose);
        gate.Set();
        await elsewhere.WaitAsync(Wait.Limit);
        Assert.That((model.Models, model.Sessions), Is.EqualTo((0, 0)), "at the moment at which it returns");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_model_whose_first_worker_does_not_fit_is_not_loaded()
    {
        using var system = new FakeSystem();
        var model = new FakeModel { Memory = new StellaMemoryEstimate(1000, 10, 100, 500, 1610) };
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = (1000 * FakeSystem.MiB) + 1500 });
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { Governor = governor });
        var refused = Assert.ThrowsAsync<StellaMemoryException>(() => pool.EmbedAsync("one"))!;
        Assert.That(refused.RequestedBytes, Is.EqualTo(1510), "the model and its first worker");
        Assert.That(model.Loads, Is.Zero);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Vectors_are_kept_over_a_reload_of_the_same_files_and_not_of_others()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel { FileStamp = 1 };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with
        {
            MinWorkers = 0,
            IdleTimeout = TimeSpan.FromSeconds(10),
            CacheBytes = 1 << 20,
            TimeProvider = clock,
        });
        int forwards = 0;
        foreach (var (stamp, computed) in new[] { (1UL, true), (1UL, false), (2UL, true), (2UL, false) })
        {
            model.FileStamp = stamp;
            Assert.That(await pool.EmbedAsync("text"), Is.EqualTo(FakeModel.Vector("text")));
            forwards += computed ? 1 : 0;
            Assert.That(model.Forwards, Is.EqualTo(forwards), $"files {stamp}");
            clock.Advance(TimeSpan.FromSeconds(15));
            await Wait.UntilAsync(() => model.Models == 0, "the model is unloaded");
        }

        Assert.That(model.Loads, Is.EqualTo(4));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    /// <summary>More waits than one worker takes at once, and no other can be had, for this reason.</summary>
    private static async Task OneWorkerServesAllAsync(string error)
    {
        using var gate = new Gate();
        var model = new FakeModel
        {
            OnForward = _ => gate.Pass(),
            OnSession = number =>
            {
                if (number > 1)
                {
                    throw new StellaException(StellaErrorCode.OutOfMemory, error);
                }
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxWorkers = 3 });
        Task[] calls = [.. Enumerable.Range(0, 40).Select(i => pool.EmbedAsync($"{i:00}{new string('x', 97)}"))];
        await Wait.UntilAsync(() => pool.GetHealth() is { Status: StellaPoolStatus.Degraded, Workers: 1 }, "it is told");
        gate.Open();
        await Task.WhenAll(calls);
        await PoolOf.AllIsBackAsync(pool, model);
    }
}
