using System.Buffers;
using System.Collections;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// Every object that belongs to a caller or the host: it throws, it changes, it blocks, it calls back into the pool. Nobody else
/// notices, the process lives, and the pool can be disposed.
/// </summary>
internal sealed class CallerObjectTests
{
    [ThreadStatic]
    private static bool isCallingBack;

    /// <summary>The behaviour of an object that the pool touches.</summary>
    public enum Mischief
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
        using var gate = new Gate();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxCacheBytes = 1 << 20 });
        Task first = pool.EmbedAsync("runs");
        await gate.ArrivedAsync();

        // More than a part: the rest is tokenized and queued long after the caller refilled its buffer.
        string[] buffer = [.. Enumerable.Range(0, 400).Select(i => $"old text {i:000}")];
        float[] rows = new float[buffer.Length * FakeModel.DefaultDimension];
        Task call = asList
            ? Task.Run(async () => (await pool.EmbedAsync(buffer)).Vectors.CopyTo(rows))
            : pool.EmbedAsync((ReadOnlyMemory<string>)buffer, rows);
        await Wait.UntilAsync(() => pool.GetHealth().QueuedTokenCount > 100, "the call waits");
        for (int i = 0; i < buffer.Length; i++)
        {
            buffer[i] = $"new text {i:000}";
        }

        gate.Open();
        await Task.WhenAll(first, call);
        for (int i = 0; i < buffer.Length; i++)
        {
            Assert.That(
                rows.AsSpan(i * FakeModel.DefaultDimension, FakeModel.DefaultDimension).ToArray(),
                Is.EqualTo(FakeModel.Vector($"old text {i:000}")), "the texts as they were when the call began");
            Assert.That(await pool.EmbedAsync($"new text {i:000}"), Is.EqualTo(FakeModel.Vector($"new text {i:000}")), "of an honest caller");
            Assert.That(await pool.EmbedAsync($"old text {i:000}"), Is.EqualTo(FakeModel.Vector($"old text {i:000}")));
        }

        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_list_that_changes_its_length_or_throws_affects_only_its_own_call()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        StellaEmbeddings found = await pool.EmbedAsync(new ChangingList());
        Assert.That(found.Count, Is.EqualTo(found.TokenCounts.Count));
        for (int i = 0; i < found.Count; i++)
        {
            Assert.That(found[i].ToArray(), Is.EqualTo(FakeModel.Vector($"{i}")));
        }

        Assert.That(async () => await pool.EmbedAsync(new ChangingList { Fails = true }), Throws.TypeOf<IOException>());
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ memory

    [Test]
    public async Task Misbehaving_memory_fails_or_delays_only_its_own_call(
        [Values(Mischief.Throws, Mischief.Blocks, Mischief.CallsBack)] Mischief mischief, [Values] bool faulty, [Values] bool counts)
    {
        using var gate = new ManualResetEventSlim();
        var model = new FakeModel { OnForward = batch => ThrowIfGuilty(batch) };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        string[] texts = ["shared", faulty ? "guilty" : "text"];
        void act() => Do(mischief, pool, gate);
        using var rows = new OddMemory<float>(texts.Length * FakeModel.DefaultDimension, counts ? () => { } : act);
        using var lengths = new OddMemory<StellaTokenCount>(texts.Length, counts ? act : () => { });
        Task<StellaCallSummary> odd = Task.Run(() => pool.EmbedAsync(
            texts, rows.Memory, lengths.Memory, null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report }));
        Assert.That(await pool.EmbedAsync("shared"), Is.EqualTo(FakeModel.Vector("shared")), "while the memory misbehaves");
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        gate.Set();
        if (mischief == Mischief.Throws)
        {
            Assert.That(async () => await odd, Throws.TypeOf<InvalidOperationException>().With.Message.EqualTo("made by a test"));
        }
        else
        {
            Assert.That((await odd).Failures, Has.Count.EqualTo(faulty ? 1 : 0));
            Assert.That(rows.Items[..4], Is.EqualTo(FakeModel.Vector("shared")));
            Assert.That(rows.Items[4..], Is.EqualTo(faulty ? new float[4] : FakeModel.Vector("text")));
            Assert.That(lengths.Items[0].Kept, Is.EqualTo("shared".Length + 1));
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Memory_freed_before_a_faulty_text_is_reported_fails_only_its_own_call()
    {
        using var gate = new Gate();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                gate.Pass();
                ThrowIfGuilty(batch);
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        bool gone = false;
        using var memory = new OddMemory<float>(FakeModel.DefaultDimension, () => ObjectDisposedException.ThrowIf(gone, typeof(CallerObjectTests)));
        Task<StellaCallSummary> call = pool.EmbedAsync(
            (string[])["guilty"], memory.Memory, default, null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
        await gate.ArrivedAsync();
        gone = true;
        gate.Open();
        Assert.That(async () => await call, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ loggers, listeners, clocks

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_logger([Values(Mischief.Throws, Mischief.CallsBack)] Mischief mischief)
    {
        FakeModel model = Troubled();
        StellaEmbeddingPool? pool = null;
        using var logger = new ListeningLoggers(id =>
        {
            // Its own calls log too, and so on.
            if (id.Name is not ("TextFailed" or "CallFailed"))
            {
                Do(mischief, pool!);
            }
        });
        pool = PoolOf.Fake(model, PoolOf.Options with { LoggerFactory = logger });
        await WorkAsync(pool);
        Assert.That(logger.Heard, Is.Not.Empty);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_logger_that_blocks_one_worker_does_not_stop_the_others()
    {
        using var gate = new ManualResetEventSlim();
        using var arrived = new ManualResetEventSlim();
        using var held = new Gate();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                if (batch.Texts.Contains("guilty"))
                {
                    throw new StellaException(StellaErrorCode.ForwardFailed, "made by a test");
                }
            },
        };
        using var logger = new ListeningLoggers(id =>
        {
            if (id.Name == "ForwardFailed")
            {
                arrived.Set();
                Wait.Until(gate);
            }
        });
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { LoggerFactory = logger, MinWorkers = 2, MaxWorkers = 2 });
        Task<float[]> guilty = pool.EmbedAsync("guilty");
        Wait.Until(arrived);
        Assert.That(async () => await guilty.WaitAsync(Wait.Limit), Throws.TypeOf<StellaInputException>(), "answers come before the log");
        Assert.That(await pool.EmbedAsync("other").WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("other")));
        Assert.That(pool.GetHealth().BusyWorkerCount, Is.EqualTo(1), "health says so");
        gate.Set();
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_metrics_listener([Values] Mischief mischief)
    {
        using var gate = new ManualResetEventSlim();
        using var factory = new OneMeter();
        FakeModel model = Troubled();
        StellaEmbeddingPool? pool = null;
        int heard = 0;
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
        void act(Instrument instrument)
        {
            // The listener blocks once, for the first call. Measurements of forward passes come from workers and do not matter here.
            if (Interlocked.Increment(ref heard) == 1 || (mischief != Mischief.Blocks && !instrument.IsObservable))
            {
                Do(mischief, pool!, gate);
            }
        }

        listener.SetMeasurementEventCallback<long>((instrument, _, _, _) =>
        {
            if (instrument.Name == "stella.calls")
            {
                act(instrument);
            }
        });
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => { });
        listener.Start();
        pool = PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory });
        if (mischief == Mischief.Disposes)
        {
            Assert.That(await pool.EmbedAsync("one").WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("one")));
            Assert.That(async () => await pool.EmbedAsync("two"), Throws.TypeOf<ObjectDisposedException>());
        }
        else
        {
            Task<float[]> first = pool.EmbedAsync("one");
            await Wait.UntilAsync(() => heard > 0, "the listener hears of the first call");
            await WorkAsync(pool);
            gate.Set();
            Assert.That(await first.WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("one")));
        }

        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_listener_that_reads_gauges_during_the_constructor_sees_a_complete_pool()
    {
        using var factory = new OneMeter();
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
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory });
        Assert.That(errors, Is.Empty);
        Assert.That(read, Is.GreaterThanOrEqualTo(5));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_meter_has_one_set_of_instruments_for_all_its_pools()
    {
        using var factory = new OneMeter();
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
        using var gate = new Gate();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        for (int i = 0; i < 50; i++)
        {
            await PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory }).DisposeAsync();
        }

        Assert.That(published, Is.Unique);
        StellaEmbeddingPool first = PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory });
        StellaEmbeddingPool second = PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory });
        Task[] calls = [first.EmbedAsync("one"), second.EmbedAsync("one"), second.EmbedAsync("two")];
        listener.RecordObservableInstruments();
        Assert.That(queued, Is.EqualTo(new (string?, long)[] { ("fake", 3) }), "pools of one name are one measurement");
        gate.Open();
        await Task.WhenAll(calls);
        await first.DisposeAsync();
        await PoolOf.AllIsBackAsync(second, model);
    }

    [Test]
    public async Task Calls_are_answered_despite_a_misbehaving_clock(
        [Values(Mischief.Throws, Mischief.Blocks, Mischief.CallsBack)] Mischief mischief)
    {
        FakeModel model = Troubled();
        StellaEmbeddingPool? pool = null;
        using var gate = new ManualResetEventSlim();
        using var blocked = new ManualResetEventSlim();
        int inside = 0;
        bool once = false;
        var clock = new OddClock();
        pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = clock, MinWorkers = 2, MaxWorkers = 2 });
        _ = await pool.WarmUpAsync();
        clock.OnRead = () =>
        {
            if (mischief == Mischief.Blocks)
            {
                // One reading blocks, on whichever thread it is.
                if (!once && (once = true))
                {
                    blocked.Set();
                    Wait.Until(gate);
                }
            }
            else if (mischief == Mischief.Throws)
            {
                throw new InvalidOperationException("a clock");
            }
            else if (Interlocked.Increment(ref inside) == 1)
            {
                Do(mischief, pool);
                Interlocked.Exchange(ref inside, 0);
            }
        };
        Task<float[]> first = Task.Run(() => pool.EmbedAsync("held up"));
        if (mischief == Mischief.Blocks)
        {
            Wait.Until(blocked);
        }

        await WorkAsync(pool);
        gate.Set();
        Assert.That(await first.WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("held up")));
        clock.OnRead = () => { };
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_clock_that_disposes_the_pool_at_the_end_of_a_call_does_not_deadlock([Values] bool duringLoad)
    {
        using var gate = new Gate();
        using var cancel = new CancellationTokenSource();
        var model = new FakeModel { OnLoad = duringLoad ? gate.Pass : () => { }, OnForward = gate.Pass };
        StellaEmbeddingPool? pool = null;
        var clock = new OddClock();
        pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = clock });
        Task<float[]> call = pool.EmbedAsync("one", cancellationToken: cancel.Token);
        await gate.ArrivedAsync();
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
        await cancelled.WaitAsync(Wait.Limit);
        gate.Open();
        Assert.That(async () => await call, Throws.InstanceOf<OperationCanceledException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_timer_whose_dispose_throws_blocks_neither_calls_nor_a_drain()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = gate.Pass };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = new OddClock { KeepsTimers = true } });
        Task<float[]> call = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        Task drain = pool.DrainAsync(TimeSpan.FromSeconds(30));
        gate.Open();
        Assert.That(await call.WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("one")));
        await drain.WaitAsync(Wait.Limit);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public void A_failed_constructor_disposes_its_timers_and_leaves_no_reference_in_the_governor()
    {
        var governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = long.MaxValue });
        var clock = new OddClock { RefusedTimer = 2 };
        WeakReference loggers = Make(clock, governor);
        Assert.That(clock.DisposedTimers, Is.EqualTo(1));
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        Assert.That(loggers.IsAlive, Is.False, "the governor has no pool that nobody got");
        GC.KeepAlive(governor);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static WeakReference Make(TimeProvider clock, StellaMemoryGovernor governor)
        {
            var loggers = new ListeningLoggers(_ => { });
            Assert.That(
                () => PoolOf.Fake(new FakeModel(), PoolOf.Options with { Governor = governor, TimeProvider = clock, LoggerFactory = loggers }),
                Throws.TypeOf<NotSupportedException>());
            return new WeakReference(loggers);
        }
    }

    [Test]
    public async Task A_listener_that_throws_at_one_gauge_still_sees_the_others()
    {
        using var factory = new OneMeter();
        var published = new List<string>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, _) =>
            {
                if (ReferenceEquals(instrument.Meter.Scope, factory) && instrument.IsObservable)
                {
                    published.Add(instrument.Name);
                    throw new InvalidOperationException("a listener");
                }
            },
        };
        listener.Start();
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MeterFactory = factory });
        Assert.That(published, Has.Count.EqualTo(5).And.Unique);
        Assert.That(await pool.EmbedAsync("one"), Is.EqualTo(FakeModel.Vector("one")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    // ------------------------------------------------------------------------------------------------ contexts

    [Test]
    public async Task Workers_loads_and_timers_do_not_run_in_the_context_of_the_request_that_started_them()
    {
        var request = new AsyncLocal<object?>();
        var seen = new List<(string Where, object? Request, Activity? Activity)>();
        void see(string where)
        {
            lock (seen)
            {
                seen.Add((where, request.Value, Activity.Current));
            }
        }

        var clock = new FlowingClock();
        using var logger = new ListeningLoggers(id => see($"log {id.Name}"));
        var model = new FakeModel
        {
            OnLoad = () => see("load"),
            OnSession = _ => see("session"),
            OnForward = _ => see("forward"),
        };
        StellaEmbeddingPool pool;
        (pool, WeakReference kept) = await FirstRequestAsync();
        request.Value = "second request";
        _ = await pool.EmbedAsync("two");
        request.Value = null;
        clock.Advance(TimeSpan.FromMinutes(10));
        await Wait.UntilAsync(() => model.Models == 0, "the timer unloads the model");
        Assert.That(seen.Select(one => one.Where), Is.SupersetOf((string[])["load", "session", "forward", "log Loaded", "log Unloaded"]));
        Assert.That(seen.Where(one => one.Request is not null || one.Activity is not null), Is.Empty);
        await Wait.UntilAsync(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !kept.IsAlive;
            },
            "what the first request had to go, while the pool lives");
        await PoolOf.AllIsBackAsync(pool, model);

        // In a method of its own, whose variables and context are gone afterwards.
        async Task<(StellaEmbeddingPool Pool, WeakReference Kept)> FirstRequestAsync()
        {
            using var activity = new Activity("the first request");
            _ = activity.Start();
            object held = new byte[1 << 20];
            request.Value = held;
            StellaEmbeddingPool made = PoolOf.Fake(
                model, PoolOf.Options with { MinWorkers = 0, IdleTimeout = TimeSpan.FromMinutes(1), LoggerFactory = logger, TimeProvider = clock });
            _ = await made.EmbedAsync("one");
            request.Value = null;
            return (made, new WeakReference(held));
        }
    }

    // ------------------------------------------------------------------------------------------------ helpers

    /// <summary>Acts as an object that is touched.</summary>
    private static void Do(Mischief mischief, StellaEmbeddingPool pool, ManualResetEventSlim? gate = null)
    {
        switch (mischief)
        {
            case Mischief.Throws:
                throw new InvalidOperationException("made by a test");
            case Mischief.Blocks:
                Wait.Until(gate!);
                break;
            case Mischief.CallsBack when !isCallingBack:
                // These calls touch the object again.
                isCallingBack = true;
                _ = pool.GetHealth();
                _ = pool.EmbedAsync("called back");
                _ = pool.EmbedAsync("bad").ContinueWith(task => task.Exception, TaskScheduler.Default);
                isCallingBack = false;
                break;
            case Mischief.CallsBack:
                break;
            default:
                pool.Dispose();
                break;
        }
    }

    /// <summary>Good and bad calls, each with the answer that it should have.</summary>
    private static async Task WorkAsync(StellaEmbeddingPool pool)
    {
        for (int i = 0; i < 5; i++)
        {
            Assert.That(await pool.EmbedAsync($"text {i}").WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector($"text {i}")));
            Assert.That(async () => await pool.EmbedAsync("bad").WaitAsync(Wait.Limit), Throws.TypeOf<StellaInputException>());
            Assert.That(async () => await pool.EmbedAsync("guilty").WaitAsync(Wait.Limit), Throws.TypeOf<StellaInputException>());
            _ = pool.GetHealth();
        }
    }

    private static void ThrowIfGuilty(FakeBatch batch)
    {
        if (batch.Texts.Contains("guilty"))
        {
            throw new StellaException(StellaErrorCode.ForwardFailed, "made by a test");
        }
    }

    /// <summary>A model with a text that costs a worker, so that everything that can be logged is.</summary>
    private static FakeModel Troubled() => new()
    {
        OnForward = batch =>
        {
            if (batch.Texts.Contains("guilty"))
            {
                throw new StellaException(StellaErrorCode.Panic, "made by a test");
            }
        },
    };

}
