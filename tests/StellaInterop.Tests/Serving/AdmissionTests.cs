namespace StellaInterop.Tests.Serving;

/// <summary>Interactive and bulk calls have separate limits and separate queues, so that neither blocks the other.</summary>
internal sealed class AdmissionTests
{
    private static StellaCallOptions Bulk => new() { Priority = StellaPriority.Bulk };

    private static StellaCallOptions WaitingBulk => Bulk with { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(5) };

    [Test]
    public async Task An_undefined_enum_value_is_refused_and_the_next_call_is_answered()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That(
            async () => await pool.EmbedAsync("river", callOptions: new StellaCallOptions { Priority = (StellaPriority)7 }).WaitAsync(Eventually.Timeout),
            Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(await pool.EmbedAsync("river").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("river")));
        await TestPool.DisposeAndCheckAsync(pool, model);

        using StellaModel real = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        Assert.That(() => real.Embed("river", new StellaEmbedOptions { LongTextBehavior = (StellaLongTextBehavior)7 }), Throws.InstanceOf<StellaException>().Or.InstanceOf<ArgumentException>());
    }

    [Test]
    public async Task No_interactive_call_is_refused_while_two_hundred_bulk_calls_wait_and_forty_streams_are_open()
    {
        using var stop = new CancellationTokenSource();
        var model = new FakeModel { OnForward = batch => Thread.SpinWait(200 * batch.Tokens) };
        StellaEmbeddingPool pool = TestPool.Create(model);
        // Each call has different texts. Shared texts are computed once, and all calls could end during the test.
        Task[] bulk = [.. Enumerable.Range(0, 200).Select(call => Task.Run(async () => await pool.EmbedAsync(
            [.. Enumerable.Range(0, 500).Select(i => $"bulk text {call:000} {i:000}")], null, WaitingBulk, stop.Token)))];
        Task[] streams = [.. Enumerable.Range(0, 40).Select(i => Task.Run(async () => await ReadEndlessStreamAsync(pool, stop.Token)))];
        await Eventually.IsTrueAsync(() => pool.GetHealth().QueuedCallCount >= 200 + 40, "all bulk calls and streams wait");

        // Each call is sent at its time, whether or not the previous call was answered.
        var interactive = new List<Task<float[]>>();
        for (int i = 0; i < 200; i++)
        {
            interactive.Add(pool.EmbedAsync($"interactive {i}"));
            await Task.Delay(10);
        }

        float[][] vectors = await Task.WhenAll(interactive).WaitAsync(Eventually.Timeout);
        Assert.That(vectors, Is.EqualTo(Enumerable.Range(0, 200).Select(i => FakeModel.Vector($"interactive {i}"))));
        Assert.That(bulk, Has.Some.Property(nameof(Task.IsCompleted)).False, "bulk calls were waiting during the whole test");
        await stop.CancelAsync();
        await Task.WhenAll([.. bulk, .. streams]).ContinueWith(_ => { }, TaskScheduler.Default);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Bulk_calls_are_limited_to_three_quarters_of_the_calls_and_interactive_calls_fill_the_rest()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 8 });
        Task[] bulk = [.. Enumerable.Range(0, 6).Select(i => pool.EmbedAsync($"b{i}", null, Bulk))];
        var error = Assert.ThrowsAsync<StellaOverloadedException>(() => pool.EmbedAsync("b6", null, Bulk))!;
        Assert.That((error.QueuedCallCount, error.MaxQueuedCalls, error.MaxQueuedTokens), Is.EqualTo((6, 6, 4800L)));
        Assert.That(error.Message, Does.Contain("bulk"));
        Task[] interactive = [.. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"i{i}"))];
        Assert.That(async () => await pool.EmbedAsync("i2"), Throws.TypeOf<StellaOverloadedException>().With.Property("MaxQueuedCalls").EqualTo(8));
        pause.Release();
        await Task.WhenAll([.. bulk, .. interactive]);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Bulk_calls_are_limited_to_their_share_of_the_tokens()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 800, BulkShare = 0.5 });
        Task first = pool.EmbedAsync("runs");
        await pause.EnteredAsync();
        Task[] bulk = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"{i}{new string('b', 98)}", null, Bulk))];
        Assert.That(async () => await pool.EmbedAsync("b", null, Bulk), Throws.TypeOf<StellaOverloadedException>().With.Property("MaxQueuedTokens").EqualTo(400));
        Task[] interactive = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"{i}{new string('i', 98)}"))];
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.EqualTo(800));
        pause.Release();
        await Task.WhenAll([first, .. bulk, .. interactive]);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_waiting_bulk_call_is_accepted_while_interactive_calls_keep_the_queue_full()
    {
        using var permits = new SemaphoreSlim(0);
        var model = new FakeModel { OnForward = _ => Assert.That(permits.Wait(Eventually.Timeout)) };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 400 });
        string text(int i) => $"{i:000}{new string('x', 96)}";
        var interactive = new List<Task>();
        int sent = 0;
        void fillQueue()
        {
            try
            {
                while (true)
                {
                    Task call = pool.EmbedAsync(text(sent++));
                    if (call.IsFaulted)
                    {
                        Assert.That(call.Exception!.InnerException, Is.TypeOf<StellaOverloadedException>());
                        return;
                    }

                    interactive.Add(call);
                }
            }
            catch (StellaOverloadedException)
            {
            }
        }

        fillQueue();
        await Eventually.IsTrueAsync(() => pool.GetHealth().BusyWorkerCount == 1, "the first text runs");
        fillQueue();
        Task bulk = pool.EmbedAsync([.. Enumerable.Range(0, 3).Select(i => $"b{text(i)[2..]}")], null, WaitingBulk);
        for (int i = 0; i < 200 && !bulk.IsCompleted; i++)
        {
            int forwards = model.Forwards;
            permits.Release();
            await Eventually.IsTrueAsync(() => model.Forwards > forwards || bulk.IsCompleted, "the next forward pass begins");
            fillQueue();
        }

        Assert.That(bulk.IsCompletedSuccessfully, "the bulk call did not get its share of the queue and of the worker");
        permits.Release(10_000);
        await Task.WhenAll(interactive);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_batch_with_an_interactive_text_contains_no_bulk_texts()
    {
        using var pause = new PausePoint();
        var batches = new List<string[]>();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                batches.Add(batch.Texts);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Task bulk = pool.EmbedAsync([.. Enumerable.Range(0, 20).Select(i => $"bulk {i:000}")], null, Bulk);
        Task interactive = pool.EmbedAsync("interactive");
        pause.Release();
        await Task.WhenAll(first, bulk, interactive);
        Assert.That(batches[1], Is.EqualTo((string[])["interactive"]));
        Assert.That(batches.Count, Is.InRange(4, 6));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static async Task ReadEndlessStreamAsync(StellaEmbeddingPool pool, CancellationToken stop)
    {
        static async IAsyncEnumerable<string> Source()
        {
            for (int i = 0; ; i++)
            {
                yield return $"stream text {i}";
                await Task.Yield();
            }
        }

        await foreach (StellaTextEmbedding _ in pool.EmbedStreamAsync(Source(), cancellationToken: stop))
        {
        }
    }
}
