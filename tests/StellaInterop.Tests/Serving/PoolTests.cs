using StellaInterop.Interop;

namespace StellaInterop.Tests.Serving;

/// <summary>Results of calls: correct vectors in the order of the texts, also with concurrent callers and the cache.</summary>
internal sealed class PoolTests
{
    private static ulong Loads => NativeMethods.stella_counter((uint)NativeCounter.Loads);

    private static readonly string[] Words = [.. Enumerable.Range(0, 60).Select(i => new string((char)('a' + (i % 26)), i))];

    private static readonly StellaPrompt[] Prompts = [StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity];

    [Test]
    public async Task Vectors_are_returned_in_the_order_of_the_texts()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        StellaEmbeddings found = await pool.EmbedAsync(Words);
        for (int i = 0; i < Words.Length; i++)
        {
            Assert.That(found[i].ToArray(), Is.EqualTo(FakeModel.Vector(Words[i])), $"text {i}");
            Assert.That(found.TokenCounts[i].Total, Is.EqualTo(Words[i].Length + 1));
        }

        Assert.That(found.Summary.TokenCount, Is.EqualTo(Words.Sum(word => word.Length + 1)));
        Assert.That(model.Forwards, Is.GreaterThan(10), "a batch has at most 100 tokens");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Concurrent_callers_get_the_vectors_of_their_own_texts()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxWorkers = 3, MaxQueuedTokens = 1_000_000 });
        await Parallel.ForEachAsync(Enumerable.Range(0, 400), new ParallelOptions { MaxDegreeOfParallelism = 64 }, async (i, token) =>
        {
            string[] texts = [.. Enumerable.Range(0, 1 + (i % 9)).Select(j => $"{i} {Words[(i + j) % Words.Length]}")];
            int dimension = i % 3 == 0 ? FakeModel.OtherDimension : FakeModel.DefaultDimension;
            float[] vectors = new float[texts.Length * dimension];
            await pool.EmbedAsync(
                texts, vectors, default, new StellaEmbedOptions { Dimension = dimension, Prompt = Prompts[i % 3] }, null, token);
            for (int j = 0; j < texts.Length; j++)
            {
                Assert.That(
                    vectors.AsSpan(j * dimension, dimension).ToArray(),
                    Is.EqualTo(FakeModel.Vector(texts[j], Prompts[i % 3], dimension)));
            }
        });
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Several_dimensions_have_the_bits_of_each()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        await using var pool = new StellaEmbeddingPool(model, new StellaPoolOptions { MaxWorkers = 1, MaxBatchTokens = 512 });
        string[] texts = [.. Enumerable.Range(0, 90).Select(i => $"the bridge number {i}")];
        int[] dimensions = [768, 256];
        float[] rows = new float[texts.Length * 1024];
        _ = await pool.EmbedAsync(texts, rows, new StellaEmbedOptions { Dimensions = dimensions });
        StellaEmbeddings ofModel = model.Embed(texts, new StellaEmbedOptions { Dimensions = dimensions });
        Assert.That(ofModel.Vectors.Span.SequenceEqual(rows), Is.True, "the model has the rows of the pool");
        int begin = 0;
        foreach (int dimension in dimensions)
        {
            StellaEmbeddings single = await pool.EmbedAsync(texts, new StellaEmbedOptions { Dimension = dimension });
            for (int i = 0; i < texts.Length; i++)
            {
                Assert.That(rows.AsSpan((i * 1024) + begin, dimension).SequenceEqual(single[i].Span), Is.True, $"text {i}, {dimension}");
            }

            begin += dimension;
        }
    }

    [Test]
    public async Task Several_dimensions_need_one_forward_pass()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        int[] dimensions = [FakeModel.OtherDimension, FakeModel.DefaultDimension];
        float[] row = await pool.EmbedAsync("text", new StellaEmbedOptions { Dimensions = dimensions });
        Assert.That(row, Has.Length.EqualTo(dimensions.Sum()));
        Assert.That(model.Forwards, Is.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_missing_head_among_several_is_named()
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        Assert.That(
            async () => await pool.EmbedAsync("text", new StellaEmbedOptions { Dimensions = [256, 300] }),
            Throws.TypeOf<StellaOptionException>().With.Message.Contains("dimension 300"));
        Assert.That(
            async () => await pool.EmbedAsync("text", new StellaEmbedOptions { Dimensions = [int.MaxValue, int.MaxValue - 1] }),
            Throws.TypeOf<StellaOptionException>());
    }

    [Test]
    public async Task A_call_without_texts_does_not_load_the_model()
    {
        var model = new FakeModel();
        await using StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That((await pool.EmbedAsync((IReadOnlyList<string>)[])).Count, Is.Zero);
        Assert.That(model.Loads, Is.Zero);
    }

    [Test]
    public async Task Invalid_arguments_are_refused_and_named()
    {
        var model = new FakeModel();
        await using StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.Multiple(() =>
        {
            Assert.That(async () => await pool.EmbedAsync((string)null!), Throws.ArgumentNullException);
            Assert.That(async () => await pool.EmbedAsync((IReadOnlyList<string>)null!), Throws.ArgumentNullException);
            Assert.That(
                async () => await pool.EmbedAsync((string[])["a", "b"], new float[7]),
                Throws.ArgumentException.With.Message.Contains("8 numbers; there is room for 7"));
            Assert.That(
                async () => await pool.EmbedAsync((string[])["a", "b"], new float[8], new StellaTokenCount[1]),
                Throws.ArgumentException.With.Message.Contains("counts"));
            Assert.That(
                async () => await pool.EmbedAsync("a", new StellaEmbedOptions { Dimension = 5 }),
                Throws.TypeOf<StellaOptionException>().With.Message.Contains("4, 8"));
            Assert.That(
                async () => await pool.EmbedAsync("a", null, new StellaCallOptions { Timeout = TimeSpan.Zero }),
                Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(
                async () => await pool.EmbedAsync("a", null, new StellaCallOptions { QueueFullMode = StellaQueueFullMode.Wait }),
                Throws.ArgumentException.With.Message.Contains("Timeout"));
        });
    }

    [Test]
    public async Task A_text_shared_by_concurrent_calls_is_computed_once()
    {
        using var pause = new PausePoint();
        int forwards = 0;
        var model = new FakeModel
        {
            OnForward = _ =>
            {
                if (Interlocked.Increment(ref forwards) == 1)
                {
                    pause.Enter();
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> first = pool.EmbedAsync("running");
        await pause.EnteredAsync();
        using var cancel = new CancellationTokenSource();

        // Ten calls share the running text and ten the waiting text. The first call of the waiting text is cancelled.
        Task<float[]> cancelled = pool.EmbedAsync("waiting", cancellationToken: cancel.Token);
        Task<float[]>[] others =
            [.. Enumerable.Range(0, 20).Select(i => pool.EmbedAsync(i % 2 == 0 ? "running" : "waiting"))];
        await cancel.CancelAsync();
        Assert.That(async () => await cancelled, Throws.InstanceOf<OperationCanceledException>());
        pause.Release();
        foreach ((float[] vector, int i) in (await Task.WhenAll(others)).Select((vector, i) => (vector, i)))
        {
            Assert.That(vector, Is.EqualTo(FakeModel.Vector(i % 2 == 0 ? "running" : "waiting")));
        }

        Assert.That(await first, Is.EqualTo(FakeModel.Vector("running")));
        Assert.That(model.Forwards, Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_text_is_computed_again_for_another_prompt_dimension_or_normalization()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxCacheBytes = 1 << 20 });
        _ = await pool.EmbedAsync("text");
        Assert.That(await pool.EmbedAsync("text", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery }), Is.EqualTo(FakeModel.Vector("text", StellaPrompt.SearchQuery)));
        Assert.That(await pool.EmbedAsync("text", new StellaEmbedOptions { Dimension = 8 }), Is.EqualTo(FakeModel.Vector("text", dimension: 8)));
        _ = await pool.EmbedAsync("text", new StellaEmbedOptions { Normalize = false });
        Assert.That(model.Forwards, Is.EqualTo(4));
        _ = await pool.EmbedAsync("text");
        Assert.That(model.Forwards, Is.EqualTo(4), "the first vector is still in the cache");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_cache_is_bounded_in_bytes_and_evicts_the_least_recently_used_vector()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxCacheBytes = 600 });
        foreach (string text in new[] { "a", "b", "c", "a", "d" })
        {
            _ = await pool.EmbedAsync(text);
            Assert.That(pool.GetHealth().CacheBytes, Is.InRange(100, 600));
        }

        Assert.That(model.Forwards, Is.EqualTo(4));
        _ = await pool.EmbedAsync("a");
        Assert.That(model.Forwards, Is.EqualTo(4), "the vector was used again and stays in the cache");
        _ = await pool.EmbedAsync("b");
        Assert.That(model.Forwards, Is.EqualTo(5), "the vector was not used again and is evicted");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cached_vector_of_a_truncated_text_still_reports_the_truncation()
    {
        string text = new('x', 150);
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxCacheBytes = 1 << 20 });
        _ = await pool.EmbedAsync(text);
        StellaEmbeddings again = await pool.EmbedAsync([text]);
        Assert.That(again.TokenCounts[0].IsTruncated && again.Summary.TruncatedTextCount == 1);
        Assert.That(
            async () => await pool.EmbedAsync(text, new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error }),
            Throws.TypeOf<StellaInputException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_long_call_does_not_delay_a_short_call_and_queues_about_two_batches()
    {
        using var pause = new PausePoint();
        var order = new List<string>();
        long maxQueuedTokens = 0;
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                maxQueuedTokens = Math.Max(maxQueuedTokens, pool!.GetHealth().QueuedTokenCount);
                order.AddRange(batch.Texts);
            },
        };
        pool = TestPool.Create(model);
        string[] bulk = [.. Enumerable.Range(0, 2000).Select(i => $"bulk {i:0000}")];
        float[] vectors = new float[bulk.Length * FakeModel.DefaultDimension];
        Task<StellaCallSummary> large = pool.EmbedAsync(bulk, vectors, default, null, new StellaCallOptions { Priority = StellaPriority.Bulk });
        await pause.EnteredAsync();
        Task<float[]> small = pool.EmbedAsync("small");
        pause.Release();
        Assert.That(await small, Is.EqualTo(FakeModel.Vector("small")));
        Assert.That((await large).TokenCount, Is.EqualTo(2000 * 10));
        Assert.That(order.IndexOf("small"), Is.LessThan(2 * 10), "the short call is in the second batch");
        Assert.That(order.Where(text => text != "small"), Is.EqualTo(bulk));
        Assert.That(maxQueuedTokens, Is.InRange(1, 2 * 100 + 6));
        Assert.That(vectors.AsSpan(^FakeModel.DefaultDimension..).ToArray(), Is.EqualTo(FakeModel.Vector(bulk[^1])));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_pool_returns_the_same_bits_as_its_model_and_loads_it_once()
    {
        string[] texts = [.. Enumerable.Range(0, 100).Select(i => string.Join(' ', Enumerable.Repeat($"river {i}", 1 + (i % 40))))];
        ulong loads = Loads;
        await using var pool = new StellaEmbeddingPool(
            Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 }, new StellaPoolOptions { MaxWorkers = 4, MaxBatchTokens = 512 });
        var results = new float[texts.Length][];
        await Parallel.ForEachAsync(Enumerable.Range(0, texts.Length), new ParallelOptions { MaxDegreeOfParallelism = 64 }, async (i, token) =>
            results[i] = await pool.EmbedAsync(texts[i], cancellationToken: token));
        Assert.That(Loads, Is.EqualTo(loads + 1UL));
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.That(results[i], Is.EqualTo(model.Embed(texts[i])), $"text {i}");
        }
    }
}
