using System.Buffers;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Things break: a text, a batch, a worker, the model. Who is not at fault does not notice.</summary>
internal sealed class FaultTests
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 32).Select(i => $"text {i:00}")];

    private static StellaException Panic => new(StellaErrorCode.Panic, "made by a test");

    private static StellaPoolOptions Roomy => PoolOf.Options with { MaxBatchTokens = 1000, CircuitBreaker = new() { FailureThreshold = 1000, ReplacementThreshold = 1000 } };

    public enum Poison
    {
        /// <summary>The error names the text.</summary>
        Named,

        /// <summary>It does not.</summary>
        Unnamed,

        /// <summary>The session is lost with it.</summary>
        Panic,

        /// <summary>It fails before it is in a batch.</summary>
        Tokens,
    }

    [Test]
    public async Task A_faulty_text_fails_alone([Values] Poison poison, [Values(0, 1, 15, 30, 31)] int place)
    {
        var model = new FakeModel();
        string guilty = poison == Poison.Tokens ? "bad" : "guilty";
        model.OnForward = batch => Throw(poison, Array.IndexOf(batch.Texts, guilty));
        StellaEmbeddingPool pool = PoolOf.Fake(model, Roomy);
        string[] texts = [.. Texts];
        texts[place] = guilty;
        StellaEmbeddings found = await pool.EmbedAsync(
            texts,
            new StellaEmbedOptions { FirstTextIndex = 100 },
            new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
        StellaTextFailure failure = found.Summary.Failures.Single();
        Assert.That(failure.TextIndex, Is.EqualTo(place));
        Assert.That(((StellaInputException)failure.Error).TextIndex, Is.EqualTo(100 + place), "in the caller's own list");
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.That(found[i].ToArray(), Is.EqualTo(i == place ? new float[4] : FakeModel.Vector(texts[i])), $"text {i}");
        }

        Assert.That(
            async () => await pool.EmbedAsync(texts), Throws.TypeOf<StellaInputException>().With.Property("TextIndex").EqualTo(place));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Other_callers_in_the_batch_of_a_faulty_text_get_their_vectors([Values(Poison.Named, Poison.Unnamed, Poison.Panic)] Poison poison)
    {
        using var gate = new Gate();
        var model = new FakeModel();
        model.OnForward = batch =>
        {
            gate.Pass();
            Throw(poison, Array.IndexOf(batch.Texts, "guilty"));
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Roomy);
        Task first = pool.EmbedAsync("first");
        await gate.ArrivedAsync();
        Task<float[]>[] others = [.. Texts.Select(text => pool.EmbedAsync(text))];
        Task<float[]> guilty = pool.EmbedAsync("guilty");
        gate.Open();
        await first;
        for (int i = 0; i < others.Length; i++)
        {
            Assert.That(await others[i], Is.EqualTo(FakeModel.Vector(Texts[i])));
        }

        Assert.That(async () => await guilty, Throws.TypeOf<StellaInputException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_broken_worker_is_replaced_and_its_session_is_never_used_again()
    {
        FakeModel model = PanicsOnce();
        StellaEmbeddingPool pool = PoolOf.Fake(model, Roomy);
        Assert.That((await pool.EmbedAsync(Texts)).Count, Is.EqualTo(Texts.Length), "its halves went well");
        Assert.That(model.SessionsMade, Is.EqualTo(2));
        await Wait.UntilAsync(() => model.Sessions == 1, "the broken session is freed");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_broken_worker_is_replaced_once_when_a_call_arrives_during_the_replacement()
    {
        FakeModel model = PanicsOnce();
        StellaEmbeddingPool? pool = null;
        Task<float[]>? late = null;
        using var loggers = new ListeningLoggers(e =>
        {
            if (e.Name == "WorkerReplaced")
            {
                late = pool!.EmbedAsync("late");
                Assert.That(SpinWait.SpinUntil(() => model.SessionsMade == 2, Wait.Limit), "there is a worker for it");
            }
        });
        pool = PoolOf.Fake(model, Roomy with { LoggerFactory = loggers });
        Assert.That((await pool.EmbedAsync(Texts)).Count, Is.EqualTo(Texts.Length));
        await Wait.UntilAsync(() => late is not null, "the worker was replaced");
        Assert.That(await late!, Is.EqualTo(FakeModel.Vector("late")));
        await PoolOf.AllIsBackAsync(pool, model);
        Assert.That(model.SessionsMade, Is.EqualTo(2), "one worker is allowed");
    }

    [Test]
    public async Task Losing_the_last_worker_fails_all_waiting_calls_and_the_next_call_loads_again()
    {
        using var gate = new Gate();
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
                gate.Pass();
                throw Panic;
            }
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Roomy);
        Task<StellaEmbeddings> first = pool.EmbedAsync(Texts);
        await gate.ArrivedAsync();
        Task<float[]> second = pool.EmbedAsync("waits");
        gate.Open();
        Assert.That(async () => await first, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(async () => await second, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(await pool.EmbedAsync("later"), Is.EqualTo(FakeModel.Vector("later")));
        Assert.That(model.Loads, Is.EqualTo(2));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Repeated_failures_open_the_circuit_breaker_until_probes_succeed()
    {
        var clock = new FakeTimeProvider();
        bool fails = true;
        using var gate = new Gate();
        var model = new FakeModel();
        model.OnForward = _ =>
        {
            if (fails)
            {
                throw new StellaException(StellaErrorCode.ForwardFailed, "it fails");
            }

            gate.Pass();
        };
        StellaEmbeddingPool pool = PoolOf.Fake(
            model, PoolOf.Options with { TimeProvider = clock, CircuitBreaker = new() { FailureThreshold = 3, BreakDuration = TimeSpan.FromSeconds(5), MaxProbes = 2 } });
        for (int i = 0; i < 3; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaInputException>());
        }

        var open = Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!;
        Assert.That(open.Message, Does.Contain("5 s").And.Contain("it fails"));
        Assert.That(open.InnerException!.Message, Is.EqualTo("it fails"));
        Assert.That(open.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(5)));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Unhealthy));

        clock.Advance(TimeSpan.FromSeconds(4));
        Assert.That(Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!.RetryAfter, Is.EqualTo(TimeSpan.FromSeconds(1)));
        clock.Advance(TimeSpan.FromSeconds(1));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Degraded));
        Assert.That(async () => await pool.EmbedAsync("still"), Throws.TypeOf<StellaInputException>());
        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaCircuitOpenException>(), "one failure opens it again");

        clock.Advance(TimeSpan.FromSeconds(5));
        fails = false;
        Task<float[]> probe = pool.EmbedAsync("one");
        await gate.ArrivedAsync();
        Task<float[]> other = pool.EmbedAsync("two");
        Assert.That(async () => await pool.EmbedAsync("three"), Throws.TypeOf<StellaCircuitOpenException>(), "two at once, to see");
        gate.Open();
        await Task.WhenAll(probe, other);
        Assert.That(await pool.EmbedAsync("three"), Is.EqualTo(FakeModel.Vector("three")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_probe_makes_room_for_another_probe()
    {
        var clock = new FakeTimeProvider();
        bool fails = true;
        using var gate = new Gate();
        var model = new FakeModel();
        model.OnForward = batch =>
        {
            if (fails)
            {
                throw new StellaException(StellaErrorCode.ForwardFailed, "it fails");
            }

            gate.Pass(batch);
        };
        StellaEmbeddingPool pool = PoolOf.Fake(
            model, PoolOf.Options with { TimeProvider = clock, CircuitBreaker = new() { FailureThreshold = 1, MaxProbes = 1 } });
        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaInputException>());
        fails = false;
        clock.Advance(TimeSpan.FromSeconds(5));
        using var cancel = new CancellationTokenSource();
        Task<float[]> probe = pool.EmbedAsync("one", cancellationToken: cancel.Token);
        await gate.ArrivedAsync();
        await cancel.CancelAsync();
        Assert.That(async () => await probe, Throws.InstanceOf<OperationCanceledException>());
        gate.Open();
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Faulty_texts_do_not_open_the_circuit_breaker()
    {
        var model = new FakeModel();
        model.OnForward = batch => Throw(Poison.Named, Array.IndexOf(batch.Texts, "guilty"));
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { CircuitBreaker = new() { FailureThreshold = 1 } });
        for (int i = 0; i < 10; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(i % 2 == 0 ? "bad" : "guilty"), Throws.TypeOf<StellaInputException>());
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
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
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxBatchTokens = 1000, CircuitBreaker = new() { ReplacementThreshold = 3 } });
        _ = await pool.EmbedAsync(Texts.Take(8).ToArray());
        // The last text has its vector before its worker reports the outcome of the search.
        await Wait.UntilAsync(() => pool.GetHealth().Reason.Contains("workers had to be replaced", StringComparison.Ordinal), "the circuit opens");
        var error = Assert.ThrowsAsync<StellaCircuitOpenException>(() => pool.EmbedAsync("text"))!;
        Assert.That(error.Message, Does.Contain("workers had to be replaced"));
        await PoolOf.AllIsBackAsync(pool, model);
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
        listener.SetMeasurementEventCallback<long>((_, _, _, _) => throw new InvalidOperationException("a listener"));
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => throw new InvalidOperationException("a listener"));
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
        using var loggers = new ListeningLoggers(_ => throw new InvalidOperationException("a logger"));
        StellaEmbeddingPool pool = PoolOf.Fake(model, Roomy with { LoggerFactory = loggers });
        Assert.That((await pool.EmbedAsync(Texts))[5].ToArray(), Is.EqualTo(FakeModel.Vector(Texts[5])));
        Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Freed_caller_memory_fails_only_its_own_call()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        using var memory = new GoneMemory();
        Task<StellaCallSummary> gone = pool.EmbedAsync((string[])["shared", "text"], memory.Memory);
        await gate.ArrivedAsync();
        Task<float[]> other = pool.EmbedAsync("shared");
        memory.Go();
        gate.Open();
        Assert.That(async () => await gone, Throws.TypeOf<ObjectDisposedException>());
        Assert.That(await other, Is.EqualTo(FakeModel.Vector("shared")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_call_whose_timer_is_refused_leaves_the_queue()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { TimeProvider = new OddClock { RefusedTimer = 3 } });
        Assert.That(
            async () => await pool.EmbedAsync("text", null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(1) }),
            Throws.TypeOf<NotSupportedException>());
        Assert.That(pool.GetHealth().QueuedCallCount, Is.Zero);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    private static void Throw(Poison poison, int index)
    {
        if (index >= 0)
        {
            throw poison switch
            {
                Poison.Named => new StellaInputException(StellaErrorCode.ResultNotFinite, "it is not finite", index),
                Poison.Unnamed => new StellaException(StellaErrorCode.ForwardFailed, "something failed"),
                _ => Panic,
            };
        }
    }

    /// <summary>A model whose first forward takes the session with it.</summary>
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

    /// <summary>Memory of the caller's that is freed too early.</summary>
    private sealed class GoneMemory : MemoryManager<float>
    {
        private volatile float[]? numbers = new float[2 * FakeModel.DefaultDimension];

        public void Go() => numbers = null;

        public override Span<float> GetSpan() => numbers ?? throw new ObjectDisposedException("the caller's memory");

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
