namespace StellaInterop.Tests.Serving;

/// <summary>Streams of texts, in order and in bounded memory.</summary>
internal sealed class StreamTests
{
    [Test]
    public async Task Vectors_arrive_in_order_and_the_source_is_not_read_far_ahead()
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

        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
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
    public async Task Texts_that_were_read_do_not_wait_for_a_slow_source()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        var more = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        async IAsyncEnumerable<string> Source()
        {
            yield return "a";
            yield return "b";
            await more.Task;
            yield return "c";
        }

        await using IAsyncEnumerator<StellaTextEmbedding> embeddings = pool.EmbedStreamAsync(Source()).GetAsyncEnumerator();
        foreach (string text in (string[])["a", "b"])
        {
            Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Wait.Limit));
            Assert.That(embeddings.Current.Vector.ToArray(), Is.EqualTo(FakeModel.Vector(text)));
        }

        more.SetResult();
        Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Wait.Limit));
        Assert.That(embeddings.Current.TextIndex, Is.EqualTo(2));
        Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Wait.Limit), Is.False);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Texts_that_arrive_during_a_call_are_sent_as_one_call()
    {
        using var gate = new Gate();
        int forwards = 0;
        var model = new FakeModel { OnForward = _ => { if (Interlocked.Increment(ref forwards) == 1) { gate.Pass(); } } };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxBatchTokens = 1000 });
        int read = 0;
        async IAsyncEnumerable<string> Source()
        {
            for (; read < 60; read++)
            {
                await Task.Delay(1);
                yield return $"{read}";
            }
        }

        await using IAsyncEnumerator<StellaTextEmbedding> embeddings = pool.EmbedStreamAsync(Source()).GetAsyncEnumerator();
        Task<bool> first = embeddings.MoveNextAsync().AsTask();
        await Wait.UntilAsync(() => Volatile.Read(ref read) == 60, "the source was not read while a call ran");
        gate.Open();
        int given = 1;
        Assert.That(await first.WaitAsync(Wait.Limit));
        while (await embeddings.MoveNextAsync())
        {
            given++;
        }

        Assert.That((given, forwards), Is.EqualTo((60, 2)), "the texts that came during the first call make the second");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Texts_read_while_the_reader_pauses_are_sent_in_full_parts()
    {
        int forwards = 0;
        var model = new FakeModel { OnForward = _ => Interlocked.Increment(ref forwards) };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxBatchTokens = 1000 });
        int read = 0;
        async IAsyncEnumerable<string> Source()
        {
            for (; read < 200; read++)
            {
                await Task.Delay(1);
                yield return $"{read}";
            }
        }

        await using IAsyncEnumerator<StellaTextEmbedding> embeddings = pool.EmbedStreamAsync(Source()).GetAsyncEnumerator();
        Assert.That(await embeddings.MoveNextAsync());
        // The reader has the first part. The next one is sent, and the texts after it are collected to parts of 64.
        await Wait.UntilAsync(() => Volatile.Read(ref read) >= 190, "the source was not read while the reader paused");
        int given = 1;
        while (await embeddings.MoveNextAsync())
        {
            given++;
        }

        Assert.That(given, Is.EqualTo(200));
        // At the end of the source the reader waits again, and gets each text at once.
        Assert.That(forwards, Is.LessThan(40));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_stream_without_a_priority_is_bulk_with_any_other_options()
    {
        var priorities = new System.Collections.Concurrent.ConcurrentBag<object?>();
        using var listener = new System.Diagnostics.ActivityListener
        {
            ShouldListenTo = source => source.Name == StellaTelemetry.ActivitySourceName,
            Sample = (ref _) => System.Diagnostics.ActivitySamplingResult.AllData,
            ActivityStopped = activity =>
            {
                if (activity.DisplayName == "stella.embed" && Equals(activity.GetTagItem("stella.texts"), 3))
                {
                    priorities.Add(activity.GetTagItem("stella.priority"));
                }
            },
        };
        System.Diagnostics.ActivitySource.AddActivityListener(listener);
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        string[] texts = ["a", "b", "c"];
        foreach (StellaCallOptions? options in (StellaCallOptions?[])[null, new(), new() { TextFailureMode = StellaTextFailureMode.Report }])
        {
            Assert.That(await pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, options).CountAsync(), Is.EqualTo(3));
        }

        Assert.That(priorities, Is.EqualTo(new object[] { "bulk", "bulk", "bulk" }));
        _ = await pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, new() { Priority = StellaPriority.Interactive }).CountAsync();
        _ = await pool.EmbedAsync(texts, null, new() { TextFailureMode = StellaTextFailureMode.Report });
        Assert.That(priorities.Count("interactive".Equals), Is.EqualTo(2));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Leaving_a_stream_early_disposes_its_source_and_frees_everything()
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

        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            if (embedding.TextIndex == 100)
            {
                break;
            }
        }

        await Wait.UntilAsync(() => Volatile.Read(ref ended), "the source is disposed");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task An_error_of_the_source_is_thrown_after_the_vectors_of_all_texts_before_it([Values(0, 1, 2, 100)] int texts, [Values] bool waits)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; i < texts; i++)
            {
                yield return $"text {i}";
            }

            if (waits)
            {
                await Task.Delay(20);
            }

            throw new IOException("the disk is gone");
        }

        var seen = new List<long>();
        Assert.That(
            async () =>
            {
                await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
                {
                    seen.Add(embedding.TextIndex);
                }
            },
            Throws.TypeOf<IOException>());
        Assert.That(seen, Is.EqualTo(Enumerable.Range(0, texts)));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_faulty_text_ends_the_stream_by_default_and_is_reported_in_report_mode()
    {
        string[] texts = [.. Enumerable.Range(0, 300).Select(i => i == 200 ? "bad" : $"text {i}")];
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(
            async () =>
            {
                await foreach (StellaTextEmbedding _ in pool.EmbedStreamAsync(texts.ToAsyncEnumerable()))
                {
                }
            },
            Throws.TypeOf<StellaInputException>().With.Property("TextIndex").EqualTo(200));
        var options = new StellaCallOptions { TextFailureMode = StellaTextFailureMode.Report };
        int index = 0;
        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, options))
        {
            Assert.That(embedding.Error is not null, Is.EqualTo(index == 200));
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(index == 200 ? [] : FakeModel.Vector(texts[index])));
            index++;
        }

        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_token_ends_the_stream()
    {
        using var cancel = new CancellationTokenSource();
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(
            async () =>
            {
                await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(
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

    /// <summary>Texts before a source is held: few enough to be read ahead of the text at which the stream is left.</summary>
    private const int HeldAt = 130;

    /// <summary>How a stream is left while its source does not answer.</summary>
    public enum Leaving
    {
        Break,
        Throw,
        Cancel,
    }

    [Test]
    public async Task Leaving_a_stream_does_not_wait_for_a_source_that_ignores_its_token([Values] Leaving leaving)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        var source = new HeldSource(HeldAt, new TaskCompletionSource<bool>());
        Task stream = LeaveAsync(pool, source, source.Held, leaving);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Wait.Limit)), Is.SameAs(stream), "the stream waits for its source");
        Assert.That(source.IsDisposed, Is.False, "a source is not disposed while it is being read");
        int forwards = model.Forwards;

        // Even if the source goes on, no part of it is started any more.
        source.Answer.SetResult(true);
        await Wait.UntilAsync(() => source.IsDisposed, "the abandoned source is disposed");
        await PoolOf.AllIsBackAsync(pool, model);
        Assert.That(model.Forwards, Is.EqualTo(forwards));
    }

    [Test]
    public async Task Leaving_a_stream_does_not_wait_for_a_source_that_blocks_its_thread([Values] Leaving leaving)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        // Not disposed: the source holds it longer than the stream runs.
        var open = new ManualResetEventSlim();
        var held = new TaskCompletionSource();
        bool ended = false;
        async IAsyncEnumerable<string> Source()
        {
            try
            {
                for (int i = 0; i < HeldAt; i++)
                {
                    yield return $"text {i}";
                }

                held.SetResult();
                Wait.Until(open);
                await Task.Yield();
            }
            finally
            {
                Volatile.Write(ref ended, true);
            }
        }

        Task stream = LeaveAsync(pool, Source(), held.Task, leaving);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Wait.Limit / 2)), Is.SameAs(stream), "the stream waits for its source");
        Assert.That(Volatile.Read(ref ended), Is.False);
        open.Set();
        await Wait.UntilAsync(() => Volatile.Read(ref ended), "the abandoned source is disposed");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_blocking_cancellation_callback_of_the_source_does_not_block_the_stream()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        // Not disposed: the source holds it longer than the stream runs.
        var open = new ManualResetEventSlim();
        async IAsyncEnumerable<string> Source([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken token = default)
        {
            token.Register(() => Wait.Until(open));
            for (int i = 0; ; i++)
            {
                yield return $"text {i}";
                await Task.Yield();
            }
        }

        Task stream = LeaveAsync(pool, Source(), Task.CompletedTask, Leaving.Break);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Wait.Limit / 2)), Is.SameAs(stream), "the stream waits for the callback");
        open.Set();
        await PoolOf.AllIsBackAsync(pool, model);
    }

    /// <summary>Errors that arise after leaving have no reader, and must not reach the host as unobserved either.</summary>
    [Test]
    [NonParallelizable]
    public async Task An_error_of_an_abandoned_source_is_observed([Values] bool inDispose)
    {
        var unobserved = new List<string>();
        void Note(object? sender, UnobservedTaskExceptionEventArgs e) => unobserved.Add(e.Exception.ToString());
        TaskScheduler.UnobservedTaskException += Note;
        try
        {
            var model = new FakeModel();
            StellaEmbeddingPool pool = PoolOf.Fake(model);
            await AbandonAsync(pool, inDispose);
            await PoolOf.AllIsBackAsync(pool, model);
            for (int i = 0; i < 3; i++)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }

            Assert.That(unobserved, Has.None.Contains("after leaving"));
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= Note;
        }

        // A method of its own, so that no local keeps the tasks alive.
        static async Task AbandonAsync(StellaEmbeddingPool pool, bool inDispose)
        {
            var source = new HeldSource(HeldAt, new TaskCompletionSource<bool>(), inDispose ? new IOException("after leaving") : null);
            await LeaveAsync(pool, source, source.Held, Leaving.Break);
            if (inDispose)
            {
                source.Answer.SetResult(false);
            }
            else
            {
                source.Answer.SetException(new IOException("after leaving"));
            }

            await Wait.UntilAsync(() => source.IsDisposed, "the abandoned source is disposed");
        }
    }

    [Test]
    public async Task An_error_when_the_source_is_opened_or_disposed_ends_the_stream([Values] bool inDispose)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        var answer = new TaskCompletionSource<bool>();
        answer.SetResult(false);
        var source = new HeldSource(3, answer, inDispose ? new IOException("at the end") : null) { FailsToOpen = !inDispose };
        int seen = 0;
        Assert.That(
            async () =>
            {
                await foreach (StellaTextEmbedding _ in pool.EmbedStreamAsync(source))
                {
                    seen++;
                }
            },
            Throws.TypeOf<IOException>());
        Assert.That(seen, Is.EqualTo(inDispose ? 3 : 0));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_source_can_call_its_own_pool()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; i < 300; i++)
            {
                string text = $"text {i}";
                if (i % 50 == 0)
                {
                    Assert.That(await pool.EmbedAsync(text), Is.EqualTo(FakeModel.Vector(text)));
                }

                yield return text;
            }
        }

        int given = 0;
        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {given++}")));
        }

        Assert.That(given, Is.EqualTo(300));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_source_that_disposes_the_pool_ends_its_stream()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        async IAsyncEnumerable<string> Source()
        {
            yield return "one";
            await pool.DisposeAsync();
            yield return "two";
        }

        Assert.That(
            async () =>
            {
                await foreach (StellaTextEmbedding _ in pool.EmbedStreamAsync(Source()))
                {
                }
            },
            Throws.InstanceOf<StellaPoolClosedException>().Or.InstanceOf<ObjectDisposedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_source_can_reuse_its_buffer_after_each_text()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        string[] buffer = ["text"];
        async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; i < 200; i++)
            {
                buffer[0] = $"text {i}";
                yield return buffer[0];
                buffer[0] = "overwritten";
                await Task.Yield();
            }
        }

        int given = 0;
        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {given++}")));
        }

        await PoolOf.AllIsBackAsync(pool, model);
    }

    /// <summary>Reads 100 vectors, waits until the source is held, and leaves.</summary>
    private static async Task LeaveAsync(StellaEmbeddingPool pool, IAsyncEnumerable<string> source, Task held, Leaving leaving)
    {
        using var cancel = new CancellationTokenSource();
        try
        {
            await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(source, cancellationToken: cancel.Token))
            {
                if (embedding.TextIndex < 100)
                {
                    continue;
                }

                await held.WaitAsync(Wait.Limit);
                switch (leaving)
                {
                    case Leaving.Throw:
                        throw new InvalidTimeZoneException("leaving");
                    case Leaving.Cancel:
                        // The stream then waits for texts that do not come.
                        cancel.CancelAfter(TimeSpan.FromMilliseconds(1));
                        continue;
                    default:
                        return;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or InvalidTimeZoneException)
        {
            return;
        }

        Assert.Fail("the stream came to an end");
    }

    /// <summary>A source that ignores its token: some texts, and then what <see cref="Answer"/> says.</summary>
    private sealed class HeldSource(int texts, TaskCompletionSource<bool> answer, Exception? disposeError = null)
        : IAsyncEnumerable<string>, IAsyncEnumerator<string>
    {
        private int given;
        private int disposed;
        private readonly TaskCompletionSource held = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Completes when the source is asked for what it does not answer.</summary>
        public Task Held => held.Task;

        /// <summary>Whether there is another text, once it is known.</summary>
        public TaskCompletionSource<bool> Answer { get; } = answer;

        public bool FailsToOpen { get; init; }

        public bool IsDisposed => Volatile.Read(ref disposed) != 0;

        public string Current => $"text {given}";

        public IAsyncEnumerator<string> GetAsyncEnumerator(CancellationToken cancellationToken = default) =>
            FailsToOpen ? throw new IOException("at the start") : this;

        public ValueTask<bool> MoveNextAsync()
        {
            if (++given <= texts)
            {
                return ValueTask.FromResult(true);
            }

            held.TrySetResult();
            return new ValueTask<bool>(Answer.Task);
        }

        public ValueTask DisposeAsync()
        {
            Volatile.Write(ref disposed, 1);
            return disposeError is null ? ValueTask.CompletedTask : ValueTask.FromException(disposeError);
        }
    }
}
