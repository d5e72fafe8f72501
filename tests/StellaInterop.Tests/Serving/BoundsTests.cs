namespace StellaInterop.Tests.Serving;

/// <summary>Limits hold for any number of tokens, and every call makes progress.</summary>
internal sealed class BoundsTests
{
    [Test]
    public async Task A_call_whose_prompt_is_longer_than_its_texts_is_answered(
        [Values(0, 10, 64, 90, 99, 300)] int promptTokens, [Values(1, 2, 3, 7, 60)] int count)
    {
        var model = new FakeModel { PromptTokens = promptTokens };
        StellaEmbeddingPool pool = TestPool.Create(model);
        string[] texts = [.. Enumerable.Range(0, count).Select(i => $"{i:00}")];
        StellaEmbeddings found = await pool.EmbedAsync(texts).WaitAsync(Eventually.Timeout);
        for (int i = 0; i < count; i++)
        {
            int kept = Math.Clamp(TestPool.MaxTokens - 1, 0, texts[i].Length);
            Assert.That(found[i].ToArray(), Is.EqualTo(FakeModel.Vector(texts[i][..kept])), $"text {i}");
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Texts_longer_than_their_estimate_after_normalization_are_answered_within_the_queue_limit(
        [Values(1, 5, 40)] int count)
    {
        long maxQueuedTokens = 0;
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            Expansion = 30,
            OnForward = _ => maxQueuedTokens = Math.Max(maxQueuedTokens, pool!.GetHealth().QueuedTokenCount),
        };
        pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 200 });
        Task<StellaEmbeddings>[] calls =
        [
            .. Enumerable.Range(0, 6).Select(caller => pool.EmbedAsync(
                [.. Enumerable.Range(0, count).Select(i => $"{(char)('a' + caller)}{i}")],
                null,
                new StellaCallOptions { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(5), Priority = (StellaPriority)(caller % 2) })),
        ];
        StellaEmbeddings[] found = await Task.WhenAll(calls).WaitAsync(Eventually.Timeout);
        Assert.That(found.Select(result => result.Count), Is.All.EqualTo(count));
        Assert.That(maxQueuedTokens, Is.LessThanOrEqualTo(200));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Calls_with_a_long_prompt_do_not_block_the_queue()
    {
        var model = new FakeModel { PromptTokens = 80 };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<StellaEmbeddings>[] calls = [.. Enumerable.Range(0, 120).Select(caller => pool.EmbedAsync(
            [.. Enumerable.Range(0, 8).Select(i => $"{caller} {i}")],
            null,
            new StellaCallOptions { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(5) }))];
        _ = await Task.WhenAll(calls).WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Vectors_that_exceed_an_array_are_refused_before_any_forward_pass()
    {
        var model = new FakeModel { MoreDimensions = [1 << 20] };
        StellaEmbeddingPool pool = TestPool.Create(model);
        var error = Assert.ThrowsAsync<ArgumentException>(() => pool.EmbedAsync(
            Enumerable.Repeat("text", 4096).ToArray(), new StellaEmbedOptions { Dimension = 1 << 20 }))!;
        Assert.That(error.Message, Does.Contain("4096").And.Contain("4294967296").And.Contain("stream"));
        Assert.That(model.Forwards, Is.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_rows_of_a_batch_take_at_most_one_mebibyte()
    {
        int maxRows = 0;
        var model = new FakeModel { MoreDimensions = [1 << 14], OnForward = batch => maxRows = Math.Max(maxRows, batch.Texts.Length) };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxBatchTokens = 1000 });
        _ = await pool.EmbedAsync(Enumerable.Range(0, 100).Select(i => $"{i}").ToArray(), new StellaEmbedOptions { Dimension = 1 << 14 });
        Assert.That(maxRows, Is.EqualTo(16), "16 rows of 16384 floats are 1 MiB");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
