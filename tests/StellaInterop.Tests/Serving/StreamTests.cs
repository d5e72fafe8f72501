namespace StellaInterop.Tests.Serving;

/// <summary>Streams return vectors in order and use bounded memory.</summary>
internal sealed class StreamTests
{
    [Test]
    public async Task Vectors_arrive_in_order_and_the_source_is_not_read_far_ahead()
    {
        int read = 0;
        int returned = 0;
        int farthest = 0;
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 2 });
        async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; i < 5000; i++)
            {
                read++;
                farthest = Math.Max(farthest, read - returned);
                yield return $"text {i}";
                await Task.Yield();
            }
        }

        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.TextIndex, Is.EqualTo(returned));
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {returned}")));
            returned++;
        }

        Assert.That(returned, Is.EqualTo(5000));
        Assert.That(farthest, Is.LessThan(500));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Texts_that_were_read_do_not_wait_for_a_slow_source()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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
            Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Eventually.Timeout));
            Assert.That(embeddings.Current.Vector.ToArray(), Is.EqualTo(FakeModel.Vector(text)));
        }

        more.SetResult();
        Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Eventually.Timeout));
        Assert.That(embeddings.Current.TextIndex, Is.EqualTo(2));
        Assert.That(await embeddings.MoveNextAsync().AsTask().WaitAsync(Eventually.Timeout), Is.False);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Texts_that_arrive_during_a_call_are_sent_as_one_call()
    {
        using var pause = new PausePoint();
        int forwards = 0;
        var model = new FakeModel { OnForward = _ => { if (Interlocked.Increment(ref forwards) == 1) { pause.Enter(); } } };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxBatchTokens = 1000 });
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
        await Eventually.IsTrueAsync(() => Volatile.Read(ref read) == 60, "the source is read to its end during the first call");
        pause.Release();
        int returned = 1;
        Assert.That(await first.WaitAsync(Eventually.Timeout));
        while (await embeddings.MoveNextAsync())
        {
            returned++;
        }

        Assert.That((returned, forwards), Is.EqualTo((60, 2)), "the texts that arrive during the first call are the second call");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Texts_read_while_the_reader_pauses_are_sent_in_full_parts()
    {
        int forwards = 0;
        var model = new FakeModel { OnForward = _ => Interlocked.Increment(ref forwards) };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxBatchTokens = 1000 });
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
        // The reader has the first part. The second part is sent, and later texts are collected into parts of 64 texts.
        await Eventually.IsTrueAsync(() => Volatile.Read(ref read) >= 190, "the source is read while the reader pauses");
        int returned = 1;
        while (await embeddings.MoveNextAsync())
        {
            returned++;
        }

        Assert.That(returned, Is.EqualTo(200));
        // Near the end of the source the reader waits again, and each text is sent at once.
        Assert.That(forwards, Is.LessThan(40));
        await TestPool.DisposeAndCheckAsync(pool, model);
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
        StellaEmbeddingPool pool = TestPool.Create(model);
        string[] texts = ["a", "b", "c"];
        foreach (StellaCallOptions? options in (StellaCallOptions?[])[null, new(), new() { TextFailureMode = StellaTextFailureMode.Report }])
        {
            Assert.That(await pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, options).CountAsync(), Is.EqualTo(3));
        }

        Assert.That(priorities, Is.EqualTo(new object[] { "bulk", "bulk", "bulk" }));
        _ = await pool.EmbedStreamAsync(texts.ToAsyncEnumerable(), null, new() { Priority = StellaPriority.Interactive }).CountAsync();
        _ = await pool.EmbedAsync(texts, null, new() { TextFailureMode = StellaTextFailureMode.Report });
        Assert.That(priorities.Count("interactive".Equals), Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Leaving_a_stream_early_disposes_its_source_and_frees_everything()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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

        await Eventually.IsTrueAsync(() => Volatile.Read(ref ended), "the source is disposed");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_error_of_the_source_is_thrown_after_the_vectors_of_all_texts_before_it([Values(0, 1, 2, 100)] int texts, [Values] bool waits)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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

            throw new IOException("The disk is not available.");
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
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_faulty_text_ends_the_stream_by_default_and_is_reported_in_report_mode()
    {
        string[] texts = [.. Enumerable.Range(0, 300).Select(i => i == 200 ? "bad" : $"text {i}")];
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_token_ends_the_stream()
    {
        using var cancel = new CancellationTokenSource();
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>The number of texts before a source stalls. The pool reads all of them before the test leaves the stream.</summary>
    private const int StallAfter = 130;

    /// <summary>How the test leaves a stream whose source stalls.</summary>
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
        StellaEmbeddingPool pool = TestPool.Create(model);
        var source = new StallingSource(StallAfter, new TaskCompletionSource<bool>());
        Task stream = LeaveAsync(pool, source, source.Stalled, leaving);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Eventually.Timeout)), Is.SameAs(stream), "leaving the stream waited for its source");
        Assert.That(source.IsDisposed, Is.False, "the source was disposed during a read");
        int forwards = model.Forwards;

        // If the source continues, the pool starts no further part.
        source.Answer.SetResult(true);
        await Eventually.IsTrueAsync(() => source.IsDisposed, "the abandoned source is disposed");
        await TestPool.DisposeAndCheckAsync(pool, model);
        Assert.That(model.Forwards, Is.EqualTo(forwards));
    }

    [Test]
    public async Task Leaving_a_stream_does_not_wait_for_a_source_that_blocks_its_thread([Values] Leaving leaving)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        // The event is not disposed, because the source uses it after the stream has ended.
        var release = new ManualResetEventSlim();
        var stalled = new TaskCompletionSource();
        bool ended = false;
        async IAsyncEnumerable<string> Source()
        {
            try
            {
                for (int i = 0; i < StallAfter; i++)
                {
                    yield return $"text {i}";
                }

                stalled.SetResult();
                Eventually.IsSet(release);
                await Task.Yield();
            }
            finally
            {
                Volatile.Write(ref ended, true);
            }
        }

        Task stream = LeaveAsync(pool, Source(), stalled.Task, leaving);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Eventually.Timeout / 2)), Is.SameAs(stream), "leaving the stream waited for its source");
        Assert.That(Volatile.Read(ref ended), Is.False);
        release.Set();
        await Eventually.IsTrueAsync(() => Volatile.Read(ref ended), "the abandoned source is disposed");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_blocking_cancellation_callback_of_the_source_does_not_block_the_stream()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        // The event is not disposed, because the source uses it after the stream has ended.
        var release = new ManualResetEventSlim();
        async IAsyncEnumerable<string> Source([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken token = default)
        {
            token.Register(() => Eventually.IsSet(release));
            for (int i = 0; ; i++)
            {
                yield return $"text {i}";
                await Task.Yield();
            }
        }

        Task stream = LeaveAsync(pool, Source(), Task.CompletedTask, Leaving.Break);
        Assert.That(await Task.WhenAny(stream, Task.Delay(Eventually.Timeout / 2)), Is.SameAs(stream), "leaving the stream waited for the callback");
        release.Set();
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Errors after the stream was left have no reader. They must not reach the host as unobserved task exceptions.</summary>
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
            StellaEmbeddingPool pool = TestPool.Create(model);
            await AbandonAsync(pool, inDispose);
            await TestPool.DisposeAndCheckAsync(pool, model);
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

        // A separate method, so that no local variable keeps the tasks alive.
        static async Task AbandonAsync(StellaEmbeddingPool pool, bool inDispose)
        {
            var source = new StallingSource(StallAfter, new TaskCompletionSource<bool>(), inDispose ? new IOException("after leaving") : null);
            await LeaveAsync(pool, source, source.Stalled, Leaving.Break);
            if (inDispose)
            {
                source.Answer.SetResult(false);
            }
            else
            {
                source.Answer.SetException(new IOException("after leaving"));
            }

            await Eventually.IsTrueAsync(() => source.IsDisposed, "the abandoned source is disposed");
        }
    }

    [Test]
    public async Task An_error_when_the_source_is_opened_or_disposed_ends_the_stream([Values] bool inDispose)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        var answer = new TaskCompletionSource<bool>();
        answer.SetResult(false);
        var source = new StallingSource(3, answer, inDispose ? new IOException("thrown at the end") : null) { OpenThrows = !inDispose };
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
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_source_can_call_its_own_pool()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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

        int returned = 0;
        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {returned++}")));
        }

        Assert.That(returned, Is.EqualTo(300));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_source_that_disposes_the_pool_ends_its_stream()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_source_can_reuse_its_buffer_after_each_text()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
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

        int returned = 0;
        await foreach (StellaTextEmbedding embedding in pool.EmbedStreamAsync(Source()))
        {
            Assert.That(embedding.Vector.ToArray(), Is.EqualTo(FakeModel.Vector($"text {returned++}")));
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Reads 100 vectors, waits until the source stalls, and leaves the stream.</summary>
    private static async Task LeaveAsync(StellaEmbeddingPool pool, IAsyncEnumerable<string> source, Task stalled, Leaving leaving)
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

                await stalled.WaitAsync(Eventually.Timeout);
                switch (leaving)
                {
                    case Leaving.Throw:
                        throw new InvalidTimeZoneException("leaving");
                    case Leaving.Cancel:
                        // Until the cancellation, the stream waits for texts that do not arrive.
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

        Assert.Fail("the stream ended before the test left it");
    }

    /// <summary>A source that ignores its token. After some texts, it stalls until <see cref="Answer"/> is set.</summary>
    private sealed class StallingSource(int texts, TaskCompletionSource<bool> answer, Exception? disposeError = null)
        : IAsyncEnumerable<string>, IAsyncEnumerator<string>
    {
        private int moves;
        private int disposed;
        private readonly TaskCompletionSource stalled = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Completes when the pool waits for the stalled source.</summary>
        public Task Stalled => stalled.Task;

        /// <summary>Set by the test: whether the source has another text, or its error.</summary>
        public TaskCompletionSource<bool> Answer { get; } = answer;

        public bool OpenThrows { get; init; }

        public bool IsDisposed => Volatile.Read(ref disposed) != 0;

        public string Current => $"text {moves}";

        public IAsyncEnumerator<string> GetAsyncEnumerator(CancellationToken cancellationToken = default) =>
            OpenThrows ? throw new IOException("thrown at the start") : this;

        public ValueTask<bool> MoveNextAsync()
        {
            if (++moves <= texts)
            {
                return ValueTask.FromResult(true);
            }

            stalled.TrySetResult();
            return new ValueTask<bool>(Answer.Task);
        }

        public ValueTask DisposeAsync()
        {
            Volatile.Write(ref disposed, 1);
            return disposeError is null ? ValueTask.CompletedTask : ValueTask.FromException(disposeError);
        }
    }
}
