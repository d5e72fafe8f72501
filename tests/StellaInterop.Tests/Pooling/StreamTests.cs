namespace StellaInterop.Tests.Pooling;

/// <summary>Streams of texts, in order and in bounded memory.</summary>
internal sealed class StreamTests
{
    [Test]
    public async Task Vectors_come_in_order_and_the_source_is_not_read_far_ahead()
    {
        int read = 0;
        int given = 0;
        int farthest = 0;
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxQueuedCalls = 2 });
        async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; i < 5000; i++)
            {
                read++;
                farthest = Math.Max(farthest, read - given);
                yield return $"text {i}";
                await Task.Yield();
            }
        }

        await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.TextIndex, Is.EqualTo(given));
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {given}")));
            given++;
        }

        Assert.That(given, Is.EqualTo(5000));
        Assert.That(farthest, Is.LessThan(500));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Who_leaves_early_leaves_nothing_behind()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        bool ended = false;
        async IAsyncEnumerable<string> Source()
        {
            try
            {
                for (int i = 0; ; i++)
                {
                    yield return $"text {i}";
                    await Task.Yield();
                }
            }
            finally
            {
                ended = true;
            }
        }

        await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            if (embedding.TextIndex == 100)
            {
                break;
            }
        }

        Assert.That(ended, "the source was let go of");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task An_error_of_the_source_comes_after_what_was_read()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        async IAsyncEnumerable<string> Source()
        {
            yield return "one";
            yield return "two";
            await Task.Yield();
            throw new IOException("the disk is gone");
        }

        var seen = new List<long>();
        Assert.That(
            async () =>
            {
                await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(Source()))
                {
                    seen.Add(embedding.TextIndex);
                }
            },
            Throws.TypeOf<IOException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_bad_text_ends_the_stream_or_is_reported()
    {
        string[] texts = [.. Enumerable.Range(0, 300).Select(i => i == 200 ? "bad" : $"text {i}")];
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(
            async () =>
            {
                await foreach (StellaEmbedding _ in pool.EmbedStreamAsync(texts.ToAsyncEnumerable()))
                {
                }
            },
            Throws.TypeOf<StellaInputException>().With.Property("TextIndex").EqualTo(200));
        var options = new StellaCallOptions { OnFailedText = StellaOnFailedText.Report };
        int index = 0;
        await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, options))
        {
            Assert.That(embedding.Error is not null, Is.EqualTo(index == 200));
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(index == 200 ? [] : FakeModel.Vector(texts[index])));
            index++;
        }

        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_token_ends_the_stream()
    {
        using var cancel = new CancellationTokenSource();
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(
            async () =>
            {
                await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(
                    Enumerable.Range(0, 1_000_000).Select(i => $"text {i}").ToAsyncEnumerable(), cancellationToken: cancel.Token))
                {
                    if (embedding.TextIndex == 10)
                    {
                        await cancel.CancelAsync();
                    }
                }
            },
            Throws.InstanceOf<OperationCanceledException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }
}
