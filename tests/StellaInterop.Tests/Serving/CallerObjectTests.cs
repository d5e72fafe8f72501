using System.Buffers;
using System.Collections;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// Objects of a caller or the host that throw, change, block, or call back into the pool. Other callers are not affected, the process
/// survives, and the pool can be disposed.
/// </summary>
internal sealed class CallerObjectTests
{
    /// <summary>Whether a call comes from a callback. It flows with the call, so that the calls of a callback do not multiply.</summary>
    private static readonly AsyncLocal<bool> IsCallingBack = new();

    /// <summary>The behavior of an object whose code the pool runs.</summary>
    public enum Misbehavior
    {
        Throws,
        Blocks,
        CallsBack,
        Disposes,
    }

    // ------------------------------------------------------------------------------------------------ texts

    [Test]
    public async Task An_array_changed_during_a_call_causes_no_wrong_vector([Values] bool asList)
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxCacheBytes = 1 << 20 });
        Task first = pool.EmbedAsync("runs");
        await pause.EnteredAsync();

        // The texts are more than one part. The later parts are tokenized after the caller has changed its array.
        string[] buffer = [.. Enumerable.Range(0, 400).Select(i => $"old text {i:000}")];
        float[] rows = new float[buffer.Length * FakeModel.DefaultDimension];
        Task call = asList
            ? Task.Run(async () => (await pool.EmbedAsync(buffer)).Vectors.CopyTo(rows))
            : pool.EmbedAsync((ReadOnlyMemory<string>)buffer, rows);
        await Eventually.IsTrueAsync(() => pool.GetHealth().QueuedTokenCount > 100, "the call waits");
        for (int i = 0; i < buffer.Length; i++)
        {
            buffer[i] = $"new text {i:000}";
        }

        pause.Release();
        await Task.WhenAll(first, call);
        for (int i = 0; i < buffer.Length; i++)
        {
            Assert.That(
                rows.AsSpan(i * FakeModel.DefaultDimension, FakeModel.DefaultDimension).ToArray(),
                Is.EqualTo(FakeModel.Vector($"old text {i:000}")), "the vector of the text at the beginning of the call");
            Assert.That(await pool.EmbedAsync($"new text {i:000}"), Is.EqualTo(FakeModel.Vector($"new text {i:000}")), "the vector of another caller");
            Assert.That(await pool.EmbedAsync($"old text {i:000}"), Is.EqualTo(FakeModel.Vector($"old text {i:000}")));
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_list_that_changes_its_length_or_throws_affects_only_its_own_call()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        StellaEmbeddings found = await pool.EmbedAsync(new ChangingList());
        Assert.That(found.Count, Is.EqualTo(found.TokenCounts.Count));
        for (int i = 0; i < found.Count; i++)
        {
            Assert.That(found[i].ToArray(), Is.EqualTo(FakeModel.Vector($"{i}")));
        }

        Assert.That(async () => await pool.EmbedAsync(new ChangingList { EnumerationThrows = true }), Throws.TypeOf<IOException>());
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ memory

    [Test]
    public async Task Misbehaving_memory_fails_or_delays_only_its_own_call(
        [Values(Misbehavior.Throws, Misbehavior.Blocks, Misbehavior.CallsBack)] Misbehavior misbehavior, [Values] bool isTextFaulty, [Values] bool inCounts)
    {
        using var release = new ManualResetEventSlim();
        var model = new FakeModel { OnForward = batch => ThrowIfFaulty(batch) };
        StellaEmbeddingPool pool = TestPool.Create(model);
        string[] texts = ["shared", isTextFaulty ? "faulty" : "text"];
        void misbehave() => Misbehave(misbehavior, pool, release);
        using var vectors = new CallbackMemory<float>(texts.Length * FakeModel.DefaultDimension, inCounts ? () => { } : misbehave);
        using var counts = new CallbackMemory<StellaTokenCount>(texts.Length, inCounts ? misbehave : () => { });
        Task<StellaCallSummary> call = Task.Run(() => pool.EmbedAsync(
            texts, vectors.Memory, counts.Memory, null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report }));
        Assert.That(await pool.EmbedAsync("shared"), Is.EqualTo(FakeModel.Vector("shared")), "while the memory misbehaves");
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        release.Set();
        if (misbehavior == Misbehavior.Throws)
        {
            Assert.That(async () => await call, Throws.TypeOf<InvalidOperationException>().With.Message.EqualTo("thrown by the test"));
        }
        else
        {
            Assert.That((await call).Failures, Has.Count.EqualTo(isTextFaulty ? 1 : 0));
            Assert.That(vectors.Items[..4], Is.EqualTo(FakeModel.Vector("shared")));
            Assert.That(vectors.Items[4..], Is.EqualTo(isTextFaulty ? new float[4] : FakeModel.Vector("text")));
            Assert.That(counts.Items[0].Kept, Is.EqualTo("shared".Length + 1));
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Memory_freed_before_a_faulty_text_is_reported_fails_only_its_own_call()
    {
        using var pause = new PausePoint();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                ThrowIfFaulty(batch);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        bool isFreed = false;
        using var memory = new CallbackMemory<float>(FakeModel.DefaultDimension, () => ObjectDisposedException.ThrowIf(isFreed, typeof(CallerObjectTests)));
        Task<StellaCallSummary> call = pool.EmbedAsync(
            (string[])["faulty"], memory.Memory, default, null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
        await pause.EnteredAsync();
        isFreed = true;
        pause.Release();
        Assert.That(async () => await call, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ loggers, listeners, clocks

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_logger([Values(Misbehavior.Throws, Misbehavior.CallsBack)] Misbehavior misbehavior)
    {
        FakeModel model = PanicsOnFaultyText();
        StellaEmbeddingPool? pool = null;
        using var logger = new CallbackLoggerFactory(id =>
        {
            // The calls of the logger log these records themselves.
            if (id.Name is not ("TextFailed" or "CallFailed"))
            {
                Misbehave(misbehavior, pool!);
            }
        });
        pool = TestPool.Create(model, TestPool.Options with { LoggerFactory = logger });
        await CheckCallsAsync(pool);
        Assert.That(logger.EventIds, Is.Not.Empty);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_logger_that_blocks_one_worker_does_not_stop_the_others()
    {
        using var release = new ManualResetEventSlim();
        using var arrived = new ManualResetEventSlim();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                if (batch.Texts.Contains("faulty"))
                {
                    throw new StellaException(StellaErrorCode.ForwardFailed, "thrown by the test");
                }
            },
        };
        using var logger = new CallbackLoggerFactory(id =>
        {
            if (id.Name == "ForwardFailed")
            {
                arrived.Set();
                Eventually.IsSet(release);
            }
        });
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { LoggerFactory = logger, MinWorkers = 2, MaxWorkers = 2 });
        Task<float[]> faulty = pool.EmbedAsync("faulty");
        Eventually.IsSet(arrived);
        Assert.That(async () => await faulty.WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaInputException>(), "calls are answered before the pool logs");
        Assert.That(await pool.EmbedAsync("other").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("other")));
        Assert.That(pool.GetHealth().BusyWorkerCount, Is.EqualTo(1), "health counts the blocked worker as busy");
        release.Set();
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_metrics_listener([Values] Misbehavior misbehavior)
    {
        using var release = new ManualResetEventSlim();
        using var factory = new SingleMeterFactory();
        FakeModel model = PanicsOnFaultyText();
        StellaEmbeddingPool? pool = null;
        int measurements = 0;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, factory))
                {
                    self.EnableMeasurementEvents(instrument);
                }
            },
        };
        void onMeasurement(Instrument instrument)
        {
            // The listener blocks once, for the first call. Measurements of forward passes come from workers and do not matter here.
            if (Interlocked.Increment(ref measurements) == 1 || (misbehavior != Misbehavior.Blocks && !instrument.IsObservable))
            {
                Misbehave(misbehavior, pool!, release);
            }
        }

        listener.SetMeasurementEventCallback<long>((instrument, _, _, _) =>
        {
            if (instrument.Name == "stella.calls")
            {
                onMeasurement(instrument);
            }
        });
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => { });
        listener.Start();
        pool = TestPool.Create(model, TestPool.Options with { MeterFactory = factory });
        if (misbehavior == Misbehavior.Disposes)
        {
            Assert.That(await pool.EmbedAsync("one").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("one")));
            Assert.That(async () => await pool.EmbedAsync("two"), Throws.TypeOf<ObjectDisposedException>());
        }
        else
        {
            Task<float[]> first = pool.EmbedAsync("one");
            await Eventually.IsTrueAsync(() => measurements > 0, "the listener has a measurement of the first call");
            await CheckCallsAsync(pool);
            release.Set();
            Assert.That(await first.WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("one")));
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_listener_that_reads_gauges_during_the_constructor_sees_a_complete_pool()
    {
        using var factory = new SingleMeterFactory();
        var errors = new List<Exception>();
        int read = 0;
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, factory))
                {
                    self.EnableMeasurementEvents(instrument);
                    try
                    {
                        self.RecordObservableInstruments();
                    }
                    catch (AggregateException e)
                    {
                        errors.AddRange(e.InnerExceptions);
                    }
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((_, _, _, _) => read++);
        listener.Start();
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MeterFactory = factory });
        Assert.That(errors, Is.Empty);
        Assert.That(read, Is.GreaterThanOrEqualTo(5));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_meter_has_one_set_of_instruments_for_all_its_pools()
    {
        using var factory = new SingleMeterFactory();
        var published = new List<string>();
        var queued = new List<(string? Model, long Value)>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, factory))
                {
                    published.Add(instrument.Name);
                    if (instrument.Name == "stella.queue.calls")
                    {
                        self.EnableMeasurementEvents(instrument);
                    }
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((_, value, tags, _) => queued.Add(((string?)tags[0].Value, value)));
        listener.Start();
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        for (int i = 0; i < 50; i++)
        {
            await TestPool.Create(model, TestPool.Options with { MeterFactory = factory }).DisposeAsync();
        }

        Assert.That(published, Is.Unique);
        StellaEmbeddingPool first = TestPool.Create(model, TestPool.Options with { MeterFactory = factory });
        StellaEmbeddingPool second = TestPool.Create(model, TestPool.Options with { MeterFactory = factory });
        Task[] calls = [first.EmbedAsync("one"), second.EmbedAsync("one"), second.EmbedAsync("two")];
        listener.RecordObservableInstruments();
        Assert.That(queued, Is.EqualTo(new (string?, long)[] { ("fake", 3) }), "pools with the same model name are one measurement");
        pause.Release();
        await Task.WhenAll(calls);
        await first.DisposeAsync();
        await TestPool.DisposeAndCheckAsync(second, model);
    }

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_clock(
        [Values(Misbehavior.Throws, Misbehavior.Blocks, Misbehavior.CallsBack)] Misbehavior misbehavior)
    {
        FakeModel model = PanicsOnFaultyText();
        StellaEmbeddingPool? pool = null;
        using var release = new ManualResetEventSlim();
        using var blocked = new ManualResetEventSlim();
        int inside = 0;
        bool hasBlocked = false;
        var clock = new CallbackClock();
        pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock, MinWorkers = 2, MaxWorkers = 2 });
        _ = await pool.WarmUpAsync();
        clock.OnRead = () =>
        {
            if (misbehavior == Misbehavior.Blocks)
            {
                // Only the first read of the clock blocks, on any thread.
                if (!hasBlocked && (hasBlocked = true))
                {
                    blocked.Set();
                    Eventually.IsSet(release);
                }
            }
            else if (misbehavior == Misbehavior.Throws)
            {
                throw new InvalidOperationException("thrown by the clock");
            }
            else if (Interlocked.Increment(ref inside) == 1)
            {
                Misbehave(misbehavior, pool);
                Interlocked.Exchange(ref inside, 0);
            }
        };
        Task<float[]> first = Task.Run(() => pool.EmbedAsync("delayed"));
        if (misbehavior == Misbehavior.Blocks)
        {
            Eventually.IsSet(blocked);
        }

        await CheckCallsAsync(pool);
        release.Set();
        Assert.That(await first.WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("delayed")));
        clock.OnRead = () => { };
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_clock_that_disposes_the_pool_at_the_end_of_a_call_does_not_deadlock([Values] bool duringLoad)
    {
        using var pause = new PausePoint();
        using var cancel = new CancellationTokenSource();
        var model = new FakeModel { OnLoad = duringLoad ? pause.Enter : () => { }, OnForward = pause.Enter };
        StellaEmbeddingPool? pool = null;
        var clock = new CallbackClock();
        pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        Task<float[]> call = pool.EmbedAsync("one", cancellationToken: cancel.Token);
        await pause.EnteredAsync();
        Task cancelled = Task.Run(() =>
        {
            int thread = Environment.CurrentManagedThreadId;
            clock.OnRead = () =>
            {
                if (Environment.CurrentManagedThreadId == thread)
                {
                    pool.Dispose();
                }
            };
            cancel.Cancel();
            clock.OnRead = () => { };
        });
        await cancelled.WaitAsync(Eventually.Timeout);
        pause.Release();
        Assert.That(async () => await call, Throws.InstanceOf<OperationCanceledException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_timer_whose_dispose_throws_blocks_neither_calls_nor_a_drain()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = new CallbackClock { TimerDisposeThrows = true } });
        Task<float[]> call = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromSeconds(30));
        pause.Release();
        Assert.That(await call.WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("one")));
        await drain.WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public void A_failed_constructor_disposes_its_timers_and_leaves_no_reference_in_the_governor()
    {
        var governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = long.MaxValue });
        var clock = new CallbackClock { RefusedTimer = 2 };
        WeakReference loggers = CreatePool(clock, governor);
        Assert.That(clock.DisposedTimers, Is.EqualTo(1));
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.That(loggers.IsAlive, Is.False, "the governor keeps a reference to the failed pool");
        GC.KeepAlive(governor);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static WeakReference CreatePool(TimeProvider clock, StellaMemoryGovernor governor)
        {
            var loggers = new CallbackLoggerFactory(_ => { });
            Assert.That(
                () => TestPool.Create(new FakeModel(), TestPool.Options with { Governor = governor, TimeProvider = clock, LoggerFactory = loggers }),
                Throws.TypeOf<NotSupportedException>());
            return new WeakReference(loggers);
        }
    }

    [Test]
    public async Task A_listener_that_throws_at_one_gauge_still_sees_the_others()
    {
        using var factory = new SingleMeterFactory();
        var published = new List<string>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, factory) && instrument.IsObservable)
                {
                    published.Add(instrument.Name);
                    throw new InvalidOperationException("thrown by the listener");
                }
            },
        };
        listener.Start();
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MeterFactory = factory });
        Assert.That(published, Has.Count.EqualTo(5).And.Unique);
        Assert.That(await pool.EmbedAsync("one"), Is.EqualTo(FakeModel.Vector("one")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ contexts

    [Test]
    public async Task Workers_loads_and_timers_do_not_run_in_the_context_of_the_request_that_started_them()
    {
        var request = new AsyncLocal<object?>();
        var contexts = new List<(string Place, object? Request, Activity? Activity)>();
        void record(string place)
        {
            lock (contexts)
            {
                contexts.Add((place, request.Value, Activity.Current));
            }
        }

        var clock = new ContextFlowingClock();
        using var logger = new CallbackLoggerFactory(id => record($"log {id.Name}"));
        var model = new FakeModel
        {
            OnLoad = () => record("load"),
            OnSession = _ => record("session"),
            OnForward = _ => record("forward"),
        };
        StellaEmbeddingPool pool;
        (pool, WeakReference state) = await FirstRequestAsync();
        request.Value = "second request";
        _ = await pool.EmbedAsync("two");
        request.Value = null;
        clock.Advance(TimeSpan.FromMinutes(10));
        await Eventually.IsTrueAsync(() => model.Models == 0, "the timer has unloaded the model");
        Assert.That(contexts.Select(context => context.Place), Is.SupersetOf((string[])["load", "session", "forward", "log Loaded", "log Unloaded"]));
        Assert.That(contexts.Where(context => context.Request is not null || context.Activity is not null), Is.Empty);
        await Eventually.IsTrueAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !state.IsAlive;
            },
            "the state of the first request is collected while the pool is alive");
        await TestPool.DisposeAndCheckAsync(pool, model);

        // A separate method, so that no local variable or context keeps the state of the request alive.
        async Task<(StellaEmbeddingPool Pool, WeakReference State)> FirstRequestAsync()
        {
            using var activity = new Activity("the first request");
            _ = activity.Start();
            object requestState = new byte[1 << 20];
            request.Value = requestState;
            StellaEmbeddingPool made = TestPool.Create(
                model, TestPool.Options with { MinWorkers = 0, IdleTimeout = TimeSpan.FromMinutes(1), LoggerFactory = logger, TimeProvider = clock });
            _ = await made.EmbedAsync("one");
            request.Value = null;
            return (made, new WeakReference(requestState));
        }
    }

    // ------------------------------------------------------------------------------------------------ helpers

    /// <summary>Runs the misbehavior of an object in the call of the pool.</summary>
    private static void Misbehave(Misbehavior misbehavior, StellaEmbeddingPool pool, ManualResetEventSlim? release = null)
    {
        switch (misbehavior)
        {
            case Misbehavior.Throws:
                throw new InvalidOperationException("thrown by the test");
            case Misbehavior.Blocks:
                Eventually.IsSet(release!);
                break;
            case Misbehavior.CallsBack when !IsCallingBack.Value:
                // These calls run the code of the object again.
                IsCallingBack.Value = true;
                _ = pool.GetHealth();
                _ = pool.EmbedAsync("called back");
                _ = pool.EmbedAsync("bad").ContinueWith(task => task.Exception, TaskScheduler.Default);
                IsCallingBack.Value = false;
                break;
            case Misbehavior.CallsBack:
                break;
            default:
                pool.Dispose();
                break;
        }
    }

    /// <summary>Makes valid and faulty calls, and checks the answer of each.</summary>
    private static async Task CheckCallsAsync(StellaEmbeddingPool pool)
    {
        for (int i = 0; i < 5; i++)
        {
            Assert.That(await pool.EmbedAsync($"text {i}").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector($"text {i}")));
            Assert.That(async () => await pool.EmbedAsync("bad").WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaInputException>());
            Assert.That(async () => await pool.EmbedAsync("faulty").WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaInputException>());
            _ = pool.GetHealth();
        }
    }

    private static void ThrowIfFaulty(FakeBatch batch)
    {
        if (batch.Texts.Contains("faulty"))
        {
            throw new StellaException(StellaErrorCode.ForwardFailed, "thrown by the test");
        }
    }

    /// <summary>Creates a model with a text that breaks its worker, so that the pool logs failures and replacements too.</summary>
    private static FakeModel PanicsOnFaultyText() => new()
    {
        OnForward = batch =>
        {
            if (batch.Texts.Contains("faulty"))
            {
                throw new StellaException(StellaErrorCode.Panic, "thrown by the test");
            }
        },
    };

}
