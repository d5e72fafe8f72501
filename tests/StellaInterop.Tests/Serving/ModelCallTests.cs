using StellaInterop.Serving;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Calls of a pool that use its model beside the queue.</summary>
internal sealed class ModelCallTests
{
    private const string Text = "one text with some words";

    /// <summary>A bound for a test that fails, not a measurement.</summary>
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(30);

    [Test]
    public async Task Tokens_of_a_pool_are_those_of_its_model()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));

        StellaTokens[] tokens = await pool.TokenizeAsync([Text, "another"]);
        StellaTokens withOffsets = await pool.TokenizeWithOffsetsAsync(Text);

        Assert.That(tokens.Select(one => one.Ids.ToArray()), Is.EqualTo(model.Tokenize([Text, "another"]).Select(one => one.Ids.ToArray())));
        Assert.That(tokens[0].Offsets.IsEmpty);
        Assert.That(withOffsets.Ids.ToArray(), Is.EqualTo(tokens[0].Ids.ToArray()));
        Assert.That(withOffsets.Offsets.Length, Is.EqualTo(withOffsets.Ids.Length));
        Assert.That(Text[withOffsets.Offsets.Span[1].Start..withOffsets.Offsets.Span[1].End], Is.Not.Empty);
    }

    [Test]
    public async Task Hidden_states_and_parts_of_a_pool_are_those_of_its_model()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        Range[] parts = [0..8, 9..Text.Length];
        float[] expected = new float[2 * model.Info.DefaultDimension];
        float[] actual = new float[expected.Length];

        model.EmbedParts(Text, parts, expected);
        await pool.EmbedPartsAsync(Text, parts, actual);
        StellaTokenEmbeddings tokens = await pool.EmbedTokensAsync(Text);

        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(tokens.HiddenStates.ToArray(), Is.EqualTo(model.EmbedTokens(Text).HiddenStates.ToArray()));
    }

    [Test]
    public async Task Ranges_that_change_after_the_call_have_no_effect()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        Range[] parts = [0..8];
        float[] expected = new float[model.Info.DefaultDimension];
        float[] actual = new float[expected.Length];
        model.EmbedParts(Text, parts, expected);

        // The call waits for the model to be loaded.
        Task call = pool.EmbedPartsAsync(Text, parts, actual);
        parts[0] = 9..Text.Length;
        await call;

        Assert.That(actual, Is.EqualTo(expected));
    }

    [Test]
    public async Task A_drained_pool_refuses_to_tokenize()
    {
        var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        _ = await pool.TokenizeAsync([Text]);
        await pool.DrainAsync(TimeSpan.FromSeconds(10));

        Assert.That(() => pool.TokenizeAsync([Text]), Throws.TypeOf<StellaPoolClosedException>());
        await pool.DisposeAsync();
        Assert.That(() => pool.TokenizeAsync([Text]), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void An_error_of_a_text_has_its_index()
    {
        using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        StellaInputException? error = Assert.ThrowsAsync<StellaInputException>(() => pool.TokenizeAsync(["good", "\ud800"]));
        Assert.That(error!.TextIndex, Is.EqualTo(1));
    }

    [Test]
    public void A_cancelled_token_ends_the_call()
    {
        using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        Assert.That(() => pool.EmbedTokensAsync(Text, null, new CancellationToken(canceled: true)), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public async Task Calls_beyond_the_limit_are_refused_until_one_ends()
    {
        using var mayLoad = new ManualResetEventSlim();
        var model = new FakeModel { OnLoad = () => mayLoad.Wait() };
        await using StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 2 });
        using var leaves = new CancellationTokenSource();
        Task<StellaTokens[]> leaving = pool.TokenizeAsync([Text], null, leaves.Token);
        var waiting = new List<Task> { pool.EmbedTokensAsync(Text) };
        StellaOverloadedException? refused = Assert.ThrowsAsync<StellaOverloadedException>(() => pool.EmbedPartsAsync(Text, new Range[] { .. }, new float[100]).WaitAsync(Bound));
        Assert.That((refused!.QueuedCallCount, refused.MaxQueuedCalls, refused.MaxQueuedTokens), Is.EqualTo((2, 2, 0L)));
        Assert.That(refused.RetryAfter, Is.GreaterThan(TimeSpan.Zero));

        await leaves.CancelAsync();
        Assert.That(() => leaving, Throws.InstanceOf<OperationCanceledException>());
        waiting.Add(pool.TokenizeWithOffsetsAsync(Text));
        Assert.That(waiting, Has.All.Property(nameof(Task.IsCompleted)).False);
        mayLoad.Set();
        // The fake has no calls beside the queue.
        Assert.That(() => Task.WhenAll(waiting), Throws.Exception.Not.TypeOf<StellaOverloadedException>());
    }

    [Test]
    public async Task A_cancelled_wait_for_a_slot_leaves_the_line()
    {
        var slots = new Slots(1);
        await slots.EnterAsync();
        using var leaves = new CancellationTokenSource();
        Task leaving = slots.EnterAsync(leaves.Token);
        Task next = slots.EnterAsync();
        await leaves.CancelAsync();
        Assert.That(() => leaving, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(next.IsCompleted, Is.False, "the slot is taken");
        slots.Leave();
        await next.WaitAsync(Bound);
        Task last = slots.EnterAsync();
        Assert.That(last.IsCompleted, Is.False, "the cancelled wait gave no slot back");
        slots.Leave();
        await last.WaitAsync(Bound);
    }
}
