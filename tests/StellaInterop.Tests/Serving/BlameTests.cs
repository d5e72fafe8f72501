using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Blame is assigned after isolation, with the circuit breaker as it is by default.</summary>
internal sealed class BlameTests
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 32).Select(i => $"text {i:00}")];

    private static StellaPoolOptions Default => PoolOf.Options with { MaxBatchTokens = 1000 };

    public enum Fault
    {
        /// <summary>The forward fails and the session lives on.</summary>
        Forward,

        /// <summary>The session is lost.</summary>
        Panic,

        /// <summary>The library is in an unknown state, and the session is lost.</summary>
        Internal,
    }

    [Test]
    public async Task A_call_with_a_faulty_text_does_not_affect_other_callers([Values] Fault fault, [Values(2, 32)] int count)
    {
        FakeModel model = Poisoned(fault);
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        for (int round = 0; round < 8; round++)
        {
            StellaEmbeddings found = await pool.EmbedAsync(
                [.. Texts.Take(count - 1), "guilty"], null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report });
            Assert.That(found.Summary.Failures.Single().TextIndex, Is.EqualTo(count - 1));
            Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Repeated_calls_with_one_faulty_text_do_not_affect_other_callers([Values] Fault fault, [Values] bool othersCallBetween)
    {
        FakeModel model = Poisoned(fault);
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        for (int round = 0; round < 12; round++)
        {
            Assert.That(async () => await pool.EmbedAsync("guilty"), Throws.TypeOf<StellaInputException>());
            if (othersCallBetween)
            {
                Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
            }
        }

        Assert.That(await pool.EmbedAsync("other"), Is.EqualTo(FakeModel.Vector("other")));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_model_that_fails_every_forward_pass_is_refused_after_five_failures([Values] Fault fault, [Values(1, 8)] int count)
    {
        var model = new FakeModel { OnForward = _ => throw Error(fault) };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        string[] texts = [.. Texts.Take(count)];
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(texts), Throws.TypeOf<StellaInputException>(), $"call {i}");
            int seen = i;
            await Wait.UntilAsync(
                () => pool.GetHealth().Status == (seen < 4 ? StellaPoolStatus.Healthy : StellaPoolStatus.Unhealthy), $"call {i} is judged");
        }

        Assert.That(async () => await pool.EmbedAsync("text"), Throws.TypeOf<StellaCircuitOpenException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Only_calls_of_a_head_that_cannot_be_loaded_are_refused()
    {
        var model = new FakeModel();
        model.OnForwardOf = (_, kind) =>
        {
            if (kind.Dimension == FakeModel.OtherDimension)
            {
                throw new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "2_Dense_8/model.safetensors is missing");
            }
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        var other = new StellaEmbedOptions { Dimension = FakeModel.OtherDimension };
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync(Texts, other), Throws.TypeOf<StellaModelFolderException>(), $"call {i}");
            Assert.That(await pool.EmbedAsync("good"), Is.EqualTo(FakeModel.Vector("good")));
        }

        Assert.That(model.Forwards, Is.EqualTo(10), "no text has a part in it, so none is tried alone");
        Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaCircuitOpenException>());
        Assert.That(await pool.EmbedAsync("still good"), Is.EqualTo(FakeModel.Vector("still good")));
        Assert.That(
            await pool.EmbedAsync("named", new StellaEmbedOptions { Dimension = FakeModel.DefaultDimension }), Is.EqualTo(FakeModel.Vector("named")));
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.Reason), Is.EqualTo((
            StellaPoolStatus.Degraded,
            "calls of one head are refused: the last 5 forward passes of dimension 8 failed: 2_Dense_8/model.safetensors is missing")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Only_calls_of_a_head_that_fails_its_forward_passes_are_refused()
    {
        var model = new FakeModel();
        model.OnForwardOf = (_, kind) =>
        {
            if (kind.Dimension == FakeModel.OtherDimension)
            {
                throw Error(Fault.Forward);
            }
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        var other = new StellaEmbedOptions { Dimension = FakeModel.OtherDimension };
        for (int i = 0; i < 5; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaInputException>(), $"call {i}");
        }

        Assert.That(async () => await pool.EmbedAsync("text", other), Throws.TypeOf<StellaCircuitOpenException>());
        Assert.That(await pool.EmbedAsync("good"), Is.EqualTo(FakeModel.Vector("good")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task The_number_of_log_records_of_a_failed_call_does_not_grow_with_its_texts([Values] Fault fault)
    {
        using var provider = new FakeLoggerProvider();
        using var loggers = new LoggerFactory([provider]);
        FakeModel model = Poisoned(fault);
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default with { LoggerFactory = loggers });
        _ = await pool.WarmUpAsync();
        provider.Collector.Clear();
        Assert.That(async () => await pool.EmbedAsync([.. Texts, "guilty"]), Throws.TypeOf<StellaInputException>());
        int warnings(int id) => provider.Collector.GetSnapshot().Count(record => record.Level >= LogLevel.Warning && (id == 0 || record.Id.Id == id));
        Assert.That(warnings(130), Is.EqualTo(1), "one for the fault");
        Assert.That(warnings(131), Is.Zero, "none for the call, which has its error");

        // A session that is lost costs a worker at each step of the search, and each worker is worth a record.
        Assert.That(warnings(0), Is.LessThanOrEqualTo(fault == Fault.Forward ? 1 : 1 + 7));

        provider.Collector.Clear();
        for (int i = 0; i < 100; i++)
        {
            Assert.That(async () => await pool.EmbedAsync("bad"), Throws.TypeOf<StellaInputException>());
        }

        Assert.That(provider.Collector.GetSnapshot().Count(record => record.Level >= LogLevel.Warning && record.Id.Id is 130 or 131), Is.Zero);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_search_for_a_faulty_text_does_not_open_the_circuit_breaker([Values(Fault.Panic, Fault.Internal)] Fault fault)
    {
        CancellationTokenSource? cancel = null;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                if (batch.Texts.Contains("guilty"))
                {
                    // The caller goes while the batch fails, so its halves are never tried.
                    cancel!.Cancel();
                    throw Error(fault);
                }
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, Default);
        for (int round = 0; round < 2 * Default.CircuitBreaker.ReplacementThreshold; round++)
        {
            cancel = new CancellationTokenSource();
            Assert.That(async () => await pool.EmbedAsync(["one", "guilty"], cancellationToken: cancel.Token), Throws.InstanceOf<OperationCanceledException>());
            Assert.That(await pool.EmbedAsync($"other {round}"), Is.EqualTo(FakeModel.Vector($"other {round}")));
            cancel.Dispose();
        }

        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Healthy));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    private static StellaException Error(Fault fault) => new(
        fault switch
        {
            Fault.Forward => StellaErrorCode.ForwardFailed,
            Fault.Panic => StellaErrorCode.Panic,
            _ => StellaErrorCode.Internal,
        },
        "made by a test");

    /// <summary>A model that cannot bear one text.</summary>
    private static FakeModel Poisoned(Fault fault) => new()
    {
        OnForward = batch =>
        {
            if (batch.Texts.Contains("guilty"))
            {
                throw Error(fault);
            }
        },
    };
}
