using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>An invalid argument throws at the call itself. All other errors are in the task of the call.</summary>
internal sealed class UsageErrorTests
{
    private static readonly string[] Texts = ["a", "b"];

    private static IEnumerable<TestCaseData> InvalidOptions()
    {
        yield return new TestCaseData(new StellaEmbedOptions { Dimension = 0 }, null, "Dimension");
        yield return new TestCaseData(new StellaEmbedOptions { Dimensions = [] }, null, "Dimensions");
        yield return new TestCaseData(new StellaEmbedOptions { Dimensions = [2, 0] }, null, "Dimensions");
        yield return new TestCaseData(new StellaEmbedOptions { Dimensions = [2, 8, 2] }, null, "Dimensions");
        yield return new TestCaseData(new StellaEmbedOptions { Dimensions = [2], Dimension = 2 }, null, "Dimensions");
        yield return new TestCaseData(new StellaEmbedOptions { LongTextBehavior = (StellaLongTextBehavior)7 }, null, "LongTextBehavior");
        yield return new TestCaseData(new StellaEmbedOptions { InvalidTextBehavior = (StellaInvalidTextBehavior)7 }, null, "InvalidTextBehavior");
        yield return new TestCaseData(null, new StellaCallOptions { Timeout = TimeSpan.Zero }, "Timeout");
        yield return new TestCaseData(null, new StellaCallOptions { Timeout = TimeSpan.FromDays(1) }, "Timeout");
        yield return new TestCaseData(null, new StellaCallOptions { Priority = (StellaPriority)7 }, "Priority");
        yield return new TestCaseData(null, new StellaCallOptions { QueueFullMode = (StellaQueueFullMode)7, Timeout = TimeSpan.FromSeconds(1) }, "QueueFullMode");
        yield return new TestCaseData(null, new StellaCallOptions { TextFailureMode = (StellaTextFailureMode)7 }, "TextFailureMode");
    }

    [TestCaseSource(nameof(InvalidOptions))]
    public async Task Every_embed_method_throws_at_the_call_for_an_invalid_option(StellaEmbedOptions? options, StellaCallOptions? call, string name)
    {
        await using StellaEmbeddingPool pool = TestPool.Create(new FakeModel());
        foreach (Action embed in (Action[])
        [
            () => _ = pool.EmbedAsync("a", options, call),
            () => _ = pool.EmbedAsync(Texts, options, call),
            () => _ = pool.EmbedAsync(Texts, new float[100], default, options, call),
        ])
        {
            Assert.That(Assert.Throws<ArgumentOutOfRangeException>(embed)!.ParamName, Is.EqualTo(name));
        }

        if (name != "QueueFullMode")
        {
            // A stream ignores the option and always waits.
            Assert.That(
                Assert.Throws<ArgumentOutOfRangeException>(() => { _ = pool.EmbedStreamAsync(Texts.ToAsyncEnumerable(), options, call); })!.ParamName,
                Is.EqualTo(name));
        }
    }

    [Test]
    public async Task Every_embed_method_throws_at_the_call_for_null()
    {
        await using StellaEmbeddingPool pool = TestPool.Create(new FakeModel());
        Assert.Multiple(() =>
        {
            Assert.That(() => { _ = pool.EmbedAsync((string)null!); }, Throws.ArgumentNullException);
            Assert.That(() => { _ = pool.EmbedAsync((IReadOnlyList<string>)null!); }, Throws.ArgumentNullException);
            Assert.That(() => { _ = pool.EmbedStreamAsync(null!); }, Throws.ArgumentNullException);
            Assert.That(() => { _ = pool.GetFingerprintAsync(0); }, Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [Test]
    public void The_constructor_throws_for_an_invalid_option_of_the_model_or_of_the_pool()
    {
        string path = Fixtures.Model("tiny-new");
        Assert.Multiple(() =>
        {
            Assert.That(() => new StellaEmbeddingPool(path, new StellaModelOptions { Threads = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => new StellaEmbeddingPool(path, new StellaModelOptions { LoadMode = (StellaLoadMode)7 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => new StellaEmbeddingPool(path, new StellaPoolOptions { MaxWorkers = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => new StellaEmbeddingPool(path, (StellaModelOptions)null!), Throws.ArgumentNullException);
            Assert.That(() => new StellaEmbeddingPool(""), Throws.ArgumentException);
            Assert.That(() => new StellaEmbeddingPool((StellaModel)null!), Throws.ArgumentNullException);
            Assert.That(
                () => new StellaEmbeddingPool(path, new StellaPoolOptions { CircuitBreaker = new() { MaxProbes = 0 } }),
                Throws.TypeOf<ArgumentOutOfRangeException>().With.Property("ParamName").EqualTo("CircuitBreaker.MaxProbes"));
        });
    }

    [Test]
    public async Task A_call_for_a_single_text_refuses_the_report_mode()
    {
        await using StellaEmbeddingPool pool = TestPool.Create(new FakeModel());
        Assert.That(
            () => { _ = pool.EmbedAsync("bad", null, new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report }); },
            Throws.ArgumentException.With.Message.Contains("FailCall"));
    }

    [Test]
    public async Task A_short_buffer_throws_at_the_call_once_the_dimension_is_known()
    {
        await using StellaEmbeddingPool pool = TestPool.Create(new FakeModel());
        var named = new StellaEmbedOptions { Dimension = FakeModel.OtherDimension };
        Assert.That(() => { _ = pool.EmbedAsync(Texts, new float[(2 * FakeModel.OtherDimension) - 1], default, named); }, Throws.ArgumentException);
        Assert.That(() => { _ = pool.EmbedAsync(Texts, new float[100], new StellaTokenCount[1]); }, Throws.ArgumentException);

        Task<StellaCallSummary> first = pool.EmbedAsync(Texts, new float[(2 * FakeModel.DefaultDimension) - 1]);
        Assert.That(async () => await first, Throws.ArgumentException, "before the load, the call does not know its dimension");
        Assert.That(() => { _ = pool.EmbedAsync(Texts, new float[(2 * FakeModel.DefaultDimension) - 1]); }, Throws.ArgumentException);
    }

    [Test]
    public async Task Errors_other_than_invalid_arguments_are_in_the_task()
    {
        StellaEmbeddingPool pool = TestPool.Create(new FakeModel());
        Task<float[]> bad = pool.EmbedAsync("bad");
        Assert.That(async () => await bad, Throws.TypeOf<StellaInputException>());
        await pool.DisposeAsync();
        Task<float[]> late = pool.EmbedAsync("a");
        Assert.That(async () => await late, Throws.TypeOf<ObjectDisposedException>());
    }
}
