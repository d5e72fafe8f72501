using System.Buffers;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Faults of texts, batches, workers and the model. Only the calls at fault fail.</summary>
internal sealed class FaultTests
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 32).Select(i => $"text {i:00}")];

    private static StellaException Panic => new(StellaErrorCode.Panic, "thrown by the test");

    private static StellaPoolOptions LargeBatches => TestPool.Options with { MaxBatchTokens = 1000, CircuitBreaker = new() { FailureThreshold = 1000, ReplacementThreshold = 1000 } };

    public enum TextFault
    {
        /// <summary>The error has the index of the text.</summary>
        Named,

        /// <summary>The error has no index.</summary>
        Unnamed,

        /// <summary>The error breaks the session.</summary>
        Panic,

        /// <summary>The text cannot be tokenized.</summary>
        Tokens,
    }

    [Test]
    public async Task A_faulty_text_fails_alone([Values] TextFault fault, [Values(0, 1, 15, 30, 31)] int index)
    {
        var model = new FakeModel();
        string faulty = fault == TextFault.Tokens ? "bad" : "faulty";
        model.OnForward = batch => Throw(fault, Array.IndexOf(batch.Texts, faulty));
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches);
        string[] texts = [.. Texts];
        texts[index] = faulty;
        StellaEmbeddings found = await pool.EmbedAsync(
            texts,
            new StellaEmbedOptions { FirstTextIndex = 100 },
            new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
        StellaTextFailure failure = found.Summary.Failures.Single();
        Assert.That(failure.TextIndex, Is.EqualTo(index));
        Assert.That(((StellaInputException)failure.Error).TextIndex, Is.EqualTo(100 + index), "the index in the caller's list");
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.That(found[i].ToArray(), Is.EqualTo(i == index ? new float[4] : FakeModel.Vector(texts[i])), $"text {i}");
        }

        Assert.That(
            async () => await pool.EmbedAsync(texts), Throws.TypeOf<StellaInputException>().With.Property("TextIndex").EqualTo(index));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Other_callers_in_the_batch_of_a_faulty_text_get_their_vectors([Values(TextFault.Named, TextFault.Unnamed, TextFault.Panic)] TextFault fault)
    {
        using var pause = new PausePoint();
        var model = new FakeModel();
        model.OnForward = batch =>
        {
            pause.Enter();
            Throw(fault, Array.IndexOf(batch.Texts, "faulty"));
        };
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches);
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Task<float[]>[] others = [.. Texts.Select(text => pool.EmbedAsync(text))];
        Task<float[]> faulty = pool.EmbedAsync("faulty");
        pause.Release();
        await first;
        for (int i = 0; i < others.Length; i++)
        {
            Assert.That(await others[i], Is.EqualTo(FakeModel.Vector(Texts[i])));
        }

        Assert.That(async () => await faulty, Throws.TypeOf<StellaInputException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_broken_worker_is_replaced_and_its_session_is_never_used_again()
    {
        FakeModel model = PanicsOnce();
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches);
        Assert.That((await pool.EmbedAsync(Texts)).Count, Is.EqualTo(Texts.Length), "the halves of the batch were not computed");
        Assert.That(model.SessionsMade, Is.EqualTo(2));
        await Eventually.IsTrueAsync(() => model.Sessions == 1, "the broken session is disposed");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_broken_worker_is_replaced_once_when_a_call_arrives_during_the_replacement()
    {
        FakeModel model = PanicsOnce();
        StellaEmbeddingPool? pool = null;
        Task<float[]>? late = null;
        using var loggers = new CallbackLoggerFactory(e =>
        {
            if (e.Name == "WorkerReplaced")
            {
                late = pool!.EmbedAsync("late");
                Assert.That(SpinWait.SpinUntil(() => model.SessionsMade == 2, Eventually.Timeout), "no replacement was started");
            }
        });
        pool = TestPool.Create(model, LargeBatches with { LoggerFactory = loggers });
        Assert.That((await pool.EmbedAsync(Texts)).Count, Is.EqualTo(Texts.Length));
        await Eventually.IsTrueAsync(() => late is not null, "the worker is replaced");
        Assert.That(await late!, Is.EqualTo(FakeModel.Vector("late")));
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(model.SessionsMade, Is.EqualTo(2), "MaxWorkers is 1");
    }

    [Test]
    public async Task Losing_the_last_worker_fails_all_waiting_calls_and_the_next_call_loads_again()
    {
        using var pause = new PausePoint();
        var model = new FakeModel();
        model.OnSession = number =>
        {
            if (number == 2)
            {
                throw new StellaException(StellaErrorCode.OutOfMemory, "no session");
            }
        };
        model.OnForward = _ =>
        {
            if (model.Loads == 1)
            {
                pause.Enter();
                throw Panic;
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches);
        Task<StellaEmbeddings> first = pool.EmbedAsync(Texts);
        await pause.EnteredAsync();
        Task<float[]> second = pool.EmbedAsync("waits");
        pause.Release();
        Assert.That(async () => await first, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(async () => await second, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(await pool.EmbedAsync("later"), Is.EqualTo(FakeModel.Vector("later")));
        Assert.That(model.Loads, Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_lost_model_whose_dispose_throws_is_reported_and_the_next_call_loads_again()
    {
        using var pause = new PausePoint();
        using var loggers = new CallbackLoggerFactory(_ => { });
        var model = new FakeModel();
        model.OnSession = number =>
        {
            if (number == 2)
            {
                throw new StellaException(StellaErrorCode.OutOfMemory, "no session");
            }
        };
        model.OnForward = _ =>
        {
            if (model.Loads == 1)
            {
                throw Panic;
            }
        };
        model.OnDispose = () =>
        {
            if (model.Loads == 1)
            {
                throw new IOException("The model cannot be disposed.");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches with { LoggerFactory = loggers });
        Assert.That(async () => await pool.EmbedAsync(Texts), Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(await pool.EmbedAsync("later").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("later")));
        await TestPool.DisposeAndCheckAsync(pool, model);
        // Unloaded twice; worker 1 replaced, worker 2 refused; the error of the dispose.
        Assert.That(loggers.EventIds.Count(id => id.Id == 102), Is.EqualTo(2));
        Assert.That(loggers.EventIds.Select(id => id.Id), Is.SupersetOf((int[])[112, 113, 150]));
    }

    [Test]
    public async Task Repeated_failures_open_the_circuit_breaker_until_probes_succeed()
    {
        var clock = new FakeTimeProvider();
        bool fails = true;
        using var pause = new PausePoint();
        var model = new FakeModel();
        model.OnForward = _ =>
        {
            if (fails)
            {
                throw new StellaException(StellaErrorCode.ForwardFailed, "the forward pass fails");
            }

            pause.Enter();
        };
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { TimeProvider = clock, CircuitBreaker = new() { FailureThreshold = 3, BreakDuration = TimeSpan.FromSeconds(5), MaxProbes = 2 } });
        for (int i = 0; i < 3; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaInputException>());
        }

        var open = Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!;
        Assert.That(open.Message, Does.Contain("5 s").And.Contain("the forward pass fails"));
        Assert.That(open.InnerException!.Message, Is.EqualTo("the forward pass fails"));
        Assert.That(open.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(5)));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Unhealthy));

        clock.Advance(TimeSpan.FromSeconds(4));
        Assert.That(Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(1)));
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Degraded));
        Assert.That(async () => await pool.EmbedAsync("still"), Throws.TypeOf<StellaInputException>());
        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaCircuitOpenException>(), "one failed probe opens the circuit again");

        clock.Advance(TimeSpan.FromSeconds(5));
        fails = false;
        Task<float[]> probe = pool.EmbedAsync("one");
        await pause.EnteredAsync();
        Task<float[]> other = pool.EmbedAsync("two");
        Assert.That(async () => await pool.EmbedAsync("three"), Throws.TypeOf<StellaCircuitOpenException>(), "at most two probes at once");
        pause.Release();
        await Task.WhenAll(probe, other);
        Assert.That(await pool.EmbedAsync("three"), Is.EqualTo(FakeModel.Vector("three")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_probe_makes_room_for_another_probe()
    {
        var clock = new FakeTimeProvider();
        bool fails = true;
        using var pause = new PausePoint();
        var model = new FakeModel();
        model.OnForward = batch =>
        {
            if (fails)
            {
                throw new StellaException(StellaErrorCode.ForwardFailed, "the forward pass fails");
            }

            pause.Enter(batch);
        };
        StellaEmbeddingPool pool = TestPool.Create(
            model, TestPool.Options with { TimeProvider = clock, CircuitBreaker = new() { FailureThreshold = 1, MaxProbes = 1 } });
        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaInputException>());
        fails = false;
        clock.Advance(TimeSpan.FromSeconds(5));
        using var cancel = new CancellationTokenSource();
        Task<float[]> probe = pool.EmbedAsync("one", cancellationToken: cancel.Token);
        await pause.EnteredAsync();
        await cancel.CancelAsync();
        Assert.That(async () => await probe, Throws.InstanceOf<OperationCanceledException>());
        pause.Release();
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Faulty_texts_do_not_open_the_circuit_breaker()
    {
        var model = new FakeModel();
        model.OnForward = batch => Throw(TextFault.Named, Array.IndexOf(batch.Texts, "faulty"));
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { CircuitBreaker = new() { FailureThreshold = 1 } });
        for (int i = 0; i < 10; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(i % 2 == 0 ? "bad" : "faulty"), Throws.TypeOf<StellaInputException>());
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Frequent_worker_replacements_open_the_circuit_breaker_despite_successful_forward_passes()
    {
        var model = new FakeModel();
        model.OnForward = batch =>
        {
            if (batch.Texts.Length > 1)
            {
                throw Panic;
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxBatchTokens = 1000, CircuitBreaker = new() { ReplacementThreshold = 3 } });
        _ = await pool.EmbedAsync(Texts.Take(8).ToArray());
        // The call is answered before the worker reports the outcome of its search for the faulty text.
        await Eventually.IsTrueAsync(() => pool.GetHealth().Reason.Contains("workers had to be replaced", StringComparison.Ordinal), "the circuit is open");
        var error = Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!;
        Assert.That(error.Message, Does.Contain("workers had to be replaced"));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_throwing_metrics_listener_or_logger_does_not_fail_calls()
    {
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Meter.Name == "StellaInterop" && !instrument.IsObservable)
            {
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((_, _, _, _) => throw new InvalidOperationException("thrown by the listener"));
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => throw new InvalidOperationException("thrown by the listener"));
        listener.Start();
        int forwards = 0;
        var model = new FakeModel();
        model.OnForward = _ =>
        {
            if (Interlocked.Increment(ref forwards) == 1)
            {
                throw Panic;
            }
        };
        using var loggers = new CallbackLoggerFactory(_ => throw new InvalidOperationException("thrown by the logger"));
        StellaEmbeddingPool pool = TestPool.Create(model, LargeBatches with { LoggerFactory = loggers });
        Assert.That((await pool.EmbedAsync(Texts))[5].ToArray(), Is.EqualTo(FakeModel.Vector(Texts[5])));
        Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Freed_caller_memory_fails_only_its_own_call()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model);
        using var memory = new FreeableMemory();
        Task<StellaCallSummary> freed = pool.EmbedAsync((string[])["shared", "text"], memory.Memory);
        await pause.EnteredAsync();
        Task<float[]> other = pool.EmbedAsync("shared");
        memory.Free();
        pause.Release();
        Assert.That(async () => await freed, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(await other, Is.EqualTo(FakeModel.Vector("shared")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_call_whose_timer_is_refused_leaves_the_queue()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = new CallbackClock { RefusedTimer = 3 } });
        Assert.That(
            async () => await pool.EmbedAsync("text", null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(1) }),
            Throws.TypeOf<NotSupportedException>());
        Assert.That(pool.GetHealth().QueuedCallCount, Is.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static void Throw(TextFault fault, int index)
    {
        if (index >= 0)
        {
            throw fault switch
            {
                TextFault.Named => new StellaInputException(StellaErrorCode.ResultNotFinite, "The result is not finite.", index),
                TextFault.Unnamed => new StellaException(StellaErrorCode.ForwardFailed, "The forward pass failed."),
                _ => Panic,
            };
        }
    }

    /// <summary>Creates a model whose first forward pass breaks its session.</summary>
    private static FakeModel PanicsOnce()
    {
        var model = new FakeModel();
        int forwards = 0;
        model.OnForward = _ =>
        {
            if (Interlocked.Increment(ref forwards) == 1)
            {
                throw Panic;
            }
        };
        return model;
    }

    /// <summary>Memory of a caller that can be freed during the call.</summary>
    private sealed class FreeableMemory : MemoryManager<float>
    {
        private volatile float[]? numbers = new float[2 * FakeModel.DefaultDimension];

        public void Free() => numbers = null;

        public override Span<float> GetSpan() => numbers ?? throw new ObjectDisposedException("caller memory");

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException();

        public override void Unpin()
        {
        }

        public override Memory<float> Memory => CreateMemory(2 * FakeModel.DefaultDimension);

        protected override void Dispose(bool disposing)
        {
        }
    }
}
