using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>The pool isolates a faulty text before it blames the text or the model. The circuit breaker has its default options.</summary>
internal sealed class BlameTests
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 32).Select(i => $"text {i:00}")];

    private static StellaPoolOptions Default => TestPool.Options with { MaxBatchTokens = 1000 };

    public enum ForwardFault
    {
        /// <summary>The forward pass fails and the session stays usable.</summary>
        Forward,

        /// <summary>A panic breaks the session.</summary>
        Panic,

        /// <summary>An internal error leaves the library in an unknown state and breaks the session.</summary>
        Internal,
    }

    [Test]
    public async Task A_call_with_a_faulty_text_does_not_affect_other_callers([Values] ForwardFault fault, [Values(2, 32)] int count)
    {
        FakeModel model = FailsOnFaultyText(fault);
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        for (int round = 0; round < 8; round++)
        {
            StellaEmbeddings found = await pool.EmbedAsync(
                [.. Texts.Take(count - 1), "faulty"], null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
            Assert.That(found.Summary.Failures.Single().TextIndex, Is.EqualTo(count - 1));
            Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Repeated_calls_with_one_faulty_text_do_not_affect_other_callers([Values] ForwardFault fault, [Values] bool othersCallBetween)
    {
        FakeModel model = FailsOnFaultyText(fault);
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        for (int round = 0; round < 12; round++)
        {
            Assert.That(async () => await pool.EmbedAsync("faulty"), Throws.TypeOf<StellaInputException>());
            if (othersCallBetween)
            {
                Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
            }
        }

        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_that_fails_every_forward_pass_is_refused_after_five_failures([Values] ForwardFault fault, [Values(1, 8)] int count)
    {
        var model = new FakeModel { OnForward = _ => throw Error(fault) };
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        string[] texts = [.. Texts.Take(count)];
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(texts), Throws.TypeOf<StellaInputException>(), $"call {i}");
            int seen = i;
            await Eventually.IsTrueAsync(
                () => pool.GetHealth().Status == (seen < 4 ? StellaPoolStatus.Healthy : StellaPoolStatus.Unhealthy), $"the breaker has counted call {i}");
        }

        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaCircuitOpenException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Only_calls_of_a_head_that_cannot_be_loaded_are_refused()
    {
        var model = new FakeModel();
        model.OnForwardWithKind = (_, kind) =>
        {
            if (kind.RowLength == FakeModel.OtherDimension)
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "2_Dense_8/model.safetensors is missing");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        var other = new StellaEmbedOptions { Dimension = FakeModel.OtherDimension };
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(Texts, other), Throws.TypeOf<StellaModelFolderException>(), $"call {i}");
            Assert.That(await pool.EmbedAsync("good"), Is.EqualTo(FakeModel.Vector("good")));
        }

        Assert.That(model.Forwards, Is.EqualTo(10), "no text is tried alone, because the head is at fault");
        Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaCircuitOpenException>());
        Assert.That(await pool.EmbedAsync("still good"), Is.EqualTo(FakeModel.Vector("still good")));
        Assert.That(
            await pool.EmbedAsync("named", new StellaEmbedOptions { Dimension = FakeModel.DefaultDimension }), Is.EqualTo(FakeModel.Vector("named")));
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.Reason), Is.EqualTo((
            StellaPoolStatus.Degraded,
            "calls of one head are refused: the last 5 forward passes of dimension 8 failed: 2_Dense_8/model.safetensors is missing")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Only_calls_of_a_head_that_fails_its_forward_passes_are_refused()
    {
        var model = new FakeModel();
        model.OnForwardWithKind = (_, kind) =>
        {
            if (kind.RowLength == FakeModel.OtherDimension)
            {
                throw Error(ForwardFault.Forward);
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        var other = new StellaEmbedOptions { Dimension = FakeModel.OtherDimension };
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaInputException>(), $"call {i}");
        }

        Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaCircuitOpenException>());
        Assert.That(await pool.EmbedAsync("good"), Is.EqualTo(FakeModel.Vector("good")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Heads_that_fail_together_are_refused_together_and_not_alone()
    {
        var model = new FakeModel();
        model.OnForwardWithKind = (_, kind) =>
        {
            if (kind.RowLength > FakeModel.OtherDimension)
            {
                throw Error(ForwardFault.Forward);
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        var both = new StellaEmbedOptions { Dimensions = [FakeModel.OtherDimension, FakeModel.DefaultDimension] };
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("text", both), Throws.TypeOf<StellaInputException>(), $"call {i}");
        }

        Assert.That(
            async () => await pool.EmbedAsync("text", both),
            Throws.TypeOf<StellaCircuitOpenException>().With.Message.Contains($"dimension {FakeModel.OtherDimension}, {FakeModel.DefaultDimension} failed"));
        foreach (int dimension in both.Dimensions!)
        {
            Assert.That(await pool.EmbedAsync("good", new StellaEmbedOptions { Dimension = dimension }), Is.EqualTo(FakeModel.Vector("good", dimension: dimension)));
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_number_of_log_records_of_a_failed_call_does_not_grow_with_its_texts([Values] ForwardFault fault)
    {
        using var provider = new FakeLoggerProvider();
        using var loggers = new LoggerFactory([provider]);
        FakeModel model = FailsOnFaultyText(fault);
        StellaEmbeddingPool pool = TestPool.Create(model, Default with { LoggerFactory = loggers });
        _ = await pool.WarmUpAsync();
        provider.Collector.Clear();
        Assert.That(async () => await pool.EmbedAsync([.. Texts, "faulty"]), Throws.TypeOf<StellaInputException>());
        int warnings(int id) => provider.Collector.GetSnapshot().Count(record => record.Level >= LogLevel.Warning && (id == 0 || record.Id.Id == id));
        Assert.That(warnings(130), Is.EqualTo(1), "one warning for the fault");
        Assert.That(warnings(131), Is.Zero, "no warning for the call, because the caller gets the error");

        // If the fault breaks the session, each step of the search costs a worker, and the pool logs each replacement.
        Assert.That(warnings(0), Is.LessThanOrEqualTo(fault == ForwardFault.Forward ? 1 : 1 + 7));

        provider.Collector.Clear();
        for (int i = 0; i < 100; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        }

        Assert.That(provider.Collector.GetSnapshot().Count(record => record.Level >= LogLevel.Warning && record.Id.Id is 130 or 131), Is.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_search_for_a_faulty_text_does_not_open_the_circuit_breaker([Values(ForwardFault.Panic, ForwardFault.Internal)] ForwardFault fault)
    {
        CancellationTokenSource? cancel = null;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                if (batch.Texts.Contains("faulty"))
                {
                    // The caller cancels while the batch fails, so that the halves of the batch are never tried.
                    cancel!.Cancel();
                    throw Error(fault);
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, Default);
        for (int round = 0; round < 2 * Default.CircuitBreaker.ReplacementThreshold; round++)
        {
            cancel = new CancellationTokenSource();
            Assert.That(async () => await pool.EmbedAsync(["one", "faulty"], cancellationToken: cancel.Token), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
            cancel.Dispose();
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static StellaException Error(ForwardFault fault) => new(
        fault switch
        {
            ForwardFault.Forward => StellaErrorCode.ForwardFailed,
            ForwardFault.Panic => StellaErrorCode.Panic,
            _ => StellaErrorCode.Internal,
        },
        "thrown by the test");

    /// <summary>Creates a model that fails every batch with the text "faulty".</summary>
    private static FakeModel FailsOnFaultyText(ForwardFault fault) => new()
    {
        OnForward = batch =>
        {
            if (batch.Texts.Contains("faulty"))
            {
                throw Error(fault);
            }
        },
    };
}
