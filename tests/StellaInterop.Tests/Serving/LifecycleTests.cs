using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Memory;
using StellaInterop.Tests.Memory;
using StellaInterop.Tests.Threading;

namespace StellaInterop.Tests.Serving;

/// <summary>Loading and unloading of the model, starting and stopping of workers.</summary>
internal sealed class LifecycleTests
{
    [Test]
    public async Task Sixty_four_first_callers_share_one_load()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]>[] callers = [.. Enumerable.Range(0, 64).Select(i => Task.Run(() => pool.EmbedAsync($"{i}")))];
        await pause.EnteredAsync();
        await Eventually.IsTrueAsync(() => pool.GetHealth().QueuedCallCount == 64, "all callers wait");
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loading));
        pause.Release();
        await Task.WhenAll(callers);
        Assert.That(model.Loads, Is.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_failed_load_fails_all_waiting_calls_and_the_next_call_loads_again()
    {
        using var pause = new PausePoint();
        var model = new FakeModel();
        model.OnLoad = () =>
        {
            if (model.Loads == 1)
            {
                pause.Enter();
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "The file is missing.");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]>[] callers = [.. Enumerable.Range(0, 10).Select(i => pool.EmbedAsync($"{i}"))];
        pause.Release();
        foreach (Task<float[]> caller in callers)
        {
            Assert.That(async () => await caller, Throws.TypeOf<StellaModelFolderException>().With.Message.EqualTo("The file is missing."));
        }

        Assert.That(model.Loads, Is.EqualTo(1));
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.LastLoadError!.Message), Is.EqualTo((StellaPoolStatus.Unhealthy, "The file is missing.")));
        Assert.That(await pool.EmbedAsync("again"), Is.EqualTo(FakeModel.Vector("again")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_call_that_waits_for_a_load_is_answered_at_its_own_deadline()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        Task<float[]> hurried = pool.EmbedAsync("hurried", null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(1) });
        Task<float[]> patient = pool.EmbedAsync("patient");
        await pause.EnteredAsync();
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.That(async () => await hurried, Throws.TypeOf<StellaTimeoutException>());
        pause.Release();
        Assert.That(await patient, Is.EqualTo(FakeModel.Vector("patient")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Workers_are_added_while_texts_wait_and_stopped_when_idle([Values] bool disposeSucceeds)
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel
        {
            OnForward = _ => pause.Enter(),
            OnSessionDispose = () => _ = disposeSucceeds ? 0 : throw new InvalidOperationException("The session cannot be disposed."),
        };
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { MaxWorkers = 3, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(1), "no text is queued");
        Task[] more = [.. Enumerable.Range(0, 40).Select(i => pool.EmbedAsync($"{i:00}{new string('x', 97)}"))];
        await pause.EnteredAsync();
        await pause.EnteredAsync();
        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(3));
        pause.Release();
        await Task.WhenAll([first, .. more]);
        await Eventually.IsTrueAsync(() => pool.GetHealth().BusyWorkerCount == 0, "all workers are idle");
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(3), "the idle timeout is not over");
        await AdvanceUntilAsync(clock, TimeSpan.FromSeconds(10), () => model.Sessions == 1, "two workers have stopped");
        Assert.That(await pool.EmbedAsync("still"), Is.EqualTo(FakeModel.Vector("still")));
        Assert.That((pool.GetHealth().WorkerCount, model.SessionsMade), Is.EqualTo((1, 3)), "stopped workers are not replaced");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public Task One_worker_answers_all_calls_when_no_further_worker_can_start() => CheckOneWorkerAnswersAllAsync("no session");

    [Test]
    public async Task The_error_of_a_worker_that_could_not_start_is_not_an_unobserved_task_exception()
    {
        const string Error = "no session for an additional worker";
        var unobserved = new ConcurrentQueue<string>();
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            await CheckOneWorkerAnswersAllAsync(Error);
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }

        Assert.That(unobserved, Is.Empty);

        // Tests run in parallel, and other tests may leave unobserved errors.
        void Note(object? sender, UnobservedTaskExceptionEventArgs e)
        {
            foreach (Exception inner in e.Exception.InnerExceptions.Where(inner => inner.Message == Error))
            {
                unobserved.Enqueue(inner.Message);
            }
        }
    }

    [Test]
    public async Task An_idle_model_without_minimum_workers_is_unloaded_and_loaded_again()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { MinWorkers = 0, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        _ = await pool.EmbedAsync("one");
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.That(model.Models, Is.EqualTo(1));
        await AdvanceUntilAsync(clock, TimeSpan.FromSeconds(10), () => model.Models == 0 && model.Sessions == 0, "the model is unloaded");
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Unloaded));
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        Assert.That(model.Loads, Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_in_use_is_not_unloaded()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { MinWorkers = 0, TimeProvider = clock, IdleTimeout = TimeSpan.FromSeconds(10) });
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        clock.Advance(TimeSpan.FromSeconds(100));
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded));
        pause.Release();
        Assert.That(await call, Is.EqualTo(FakeModel.Vector("one")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_idle_model_is_unloaded_to_make_room_for_another_reservation()
    {
        using var system = new FakeSystem();
        // The limit has room for the memory that the process uses already, and for the fake model with its worker twice.
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = (1000 * FakeSystem.MiB) + (2 * 1160) });
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, "the pool is idle");
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(1010 + 50), "weights and tokenizer, and one session");
        governor.Reserve("the test", 1000).Dispose();
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded), "the budget has room for both");

        using (governor.Reserve("the test", 2 * 1160))
        {
            Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Unloaded));
            var refused = Assert.ThrowsAsync<StellaMemoryException>(() => pool.EmbedAsync("two"))!;
            Assert.That((refused.Code, refused.RequestedBytes), Is.EqualTo((StellaErrorCode.MemoryExhausted, 1110L)));
            Assert.That(refused.Message, Does.Contain("fake"));
        }

        Assert.That(await pool.EmbedAsync("three"), Is.EqualTo(FakeModel.Vector("three")));
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
    }

    [Test]
    public async Task Growing_to_the_minimum_of_workers_unloads_no_other_model()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var clock = new FakeTimeProvider();
        // Refuses the second worker of each pool, so that both pools start with one worker and have to grow.
        var threads = new FakeThreads { Refuses = n => n is 3 or 6 };
        StellaPoolOptions options = threads.Options with { Governor = governor, TimeProvider = clock, MinWorkers = 2, MaxWorkers = 2 };
        FakeModel[] models = [new(), new()];
        StellaEmbeddingPool[] pools = [.. models.Select(model => TestPool.Create(model, options))];
        foreach (StellaEmbeddingPool pool in pools)
        {
            _ = await pool.EmbedAsync("one");
            await Eventually.IsTrueAsync(() => pool.GetHealth() is { BusyWorkerCount: 0, QueuedCallCount: 0 }, "the pool is idle");
        }

        using MemoryReservation rest = governor.Reserve("the rest", governor.GetStatus().AvailableBytes);
        for (int i = 0; i < 5; i++)
        {
            // Longer than the pause after a refusal and than the interval of the maintenance that grows the pool.
            int before = threads.Requested;
            clock.Advance(TimeSpan.FromSeconds(60));
            await Eventually.IsTrueAsync(() => threads.Requested >= before + 2 && pools.All(pool => pool.GetHealth().WorkerCount == 1), "both pools have tried to grow");
        }

        foreach ((FakeModel model, StellaEmbeddingPool pool) in models.Zip(pools))
        {
            Assert.That((pool.GetHealth().ModelState, model.Loads), Is.EqualTo((StellaPoolModelState.Loaded, 1)));
            await TestPool.DisposeAndCheckAsync(pool, model);
        }
    }

    [Test]
    public async Task The_reservation_of_a_session_whose_dispose_throws_is_returned()
    {
        using var system = new FakeSystem();
        var governor = new StellaMemoryGovernor(system.Options);
        var model = new FakeModel { OnSessionDispose = () => throw new InvalidOperationException("The session cannot be disposed.") };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { Governor = governor });
        _ = await pool.EmbedAsync("one");
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
    }

    [Test]
    public async Task A_hanging_load_keeps_no_texts_of_answered_calls_alive()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnLoad = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        var first = Start();
        await pause.EnteredAsync();
        List<WeakReference> texts = [first, Start(), Start()];
        await Eventually.IsTrueAsync(() => pool.GetHealth().QueuedCallCount == 0, "all calls have timed out");
        await Eventually.IsTrueAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return texts.TrueForAll(text => !text.IsAlive);
            },
            "their texts are collected");
        pause.Release();
        await TestPool.DisposeAndCheckAsync(pool, model);

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
    public async Task Warm_up_loads_the_model_and_returns_its_info()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That(pool.Info?.DefaultDimension, Is.Null);
        Assert.That((await pool.WarmUpAsync()).DefaultDimension, Is.EqualTo(FakeModel.DefaultDimension));
        Assert.That((pool.ModelName, pool.Info?.DefaultDimension), Is.EqualTo(("fake", (int?)FakeModel.DefaultDimension)));
        Assert.That((model.Loads, model.Forwards), Is.EqualTo((1, 1)));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_whose_first_worker_exceeds_the_budget_is_not_loaded()
    {
        using var system = new FakeSystem();
        var model = new FakeModel { Memory = new StellaMemoryEstimate { WeightsBytes = 1000, TokenizerBytes = 10, LoadingBytes = 100, SessionBytes = 500, TotalBytes = 1610 } };
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = (1000 * FakeSystem.MiB) + 1500 });
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { Governor = governor });
        var refused = Assert.ThrowsAsync<StellaMemoryException>(() => pool.EmbedAsync("one"))!;
        Assert.That(refused.RequestedBytes, Is.EqualTo(1510), "the request covers the model and its first worker");
        Assert.That(model.Loads, Is.Zero);
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Cached_vectors_survive_a_reload_of_the_same_files_and_not_of_changed_files()
    {
        var clock = new FakeTimeProvider();
        var model = new FakeModel { FileStamp = 1 };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with
        {
            MinWorkers = 0,
            IdleTimeout = TimeSpan.FromSeconds(10),
            MaxCacheBytes = 1 << 20,
            TimeProvider = clock,
        });
        int forwards = 0;
        foreach (var (stamp, computed) in new[] { (1UL, true), (1UL, false), (2UL, true), (2UL, false) })
        {
            model.FileStamp = stamp;
            Assert.That(await pool.EmbedAsync("text"), Is.EqualTo(FakeModel.Vector("text")));
            forwards += computed ? 1 : 0;
            Assert.That(model.Forwards, Is.EqualTo(forwards), $"file stamp {stamp}");
            await AdvanceUntilAsync(clock, TimeSpan.FromSeconds(15), () => model.Models == 0, "the model is unloaded");
        }

        Assert.That(model.Loads, Is.EqualTo(4));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Queues more texts than one worker can take, while every other worker fails to start with an error.</summary>
    /// <summary>Advances a clock until a condition is true. A worker that counts as idle may start its timer after the first advance.</summary>
    private static Task AdvanceUntilAsync(FakeTimeProvider clock, TimeSpan step, Func<bool> condition, string expected) => Eventually.IsTrueAsync(
        () =>
        {
            clock.Advance(step);
            return condition();
        },
        expected);

    private static async Task CheckOneWorkerAnswersAllAsync(string error)
    {
        using var pause = new PausePoint();
        var model = new FakeModel
        {
            OnForward = _ => pause.Enter(),
            OnSession = number =>
            {
                if (number > 1)
                {
                    throw new StellaException(StellaErrorCode.OutOfMemory, error);
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxWorkers = 3 });
        Task[] calls = [.. Enumerable.Range(0, 40).Select(i => pool.EmbedAsync($"{i:00}{new string('x', 97)}"))];
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { Status: StellaPoolStatus.Degraded, WorkerCount: 1 }, "the pool reports one worker and is degraded");
        pause.Release();
        await Task.WhenAll(calls);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
