namespace StellaInterop.Tests.Serving;

/// <summary>Interactive and bulk calls have their own bounds and waiting lines, so that neither shuts the other out.</summary>
internal sealed class AdmissionTests
{
    private static StellaCallOptions Bulk => new() { Priority = StellaPriority.Bulk };

    private static StellaCallOptions WaitingBulk => Bulk with { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(5) };

    [Test]
    public async Task An_undefined_enum_value_is_refused_and_the_next_call_is_answered()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(
            async () => await pool.EmbedAsync("river", callOptions: new StellaCallOptions { Priority = (StellaPriority)7 }).WaitAsync(Wait.Limit),
            Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(await pool.EmbedAsync("river").WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("river")));
        await PoolOf.AllIsBackAsync(pool, model);

        using StellaModel real = StellaModel.Load(Tree.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        Assert.That(() => real.Embed("river", new StellaEmbedOptions { LongTextBehavior = (StellaLongTextBehavior)7 }), Throws.InstanceOf<StellaException>().Or.InstanceOf<ArgumentException>());
    }

    [Test]
    public async Task No_interactive_call_is_refused_while_two_hundred_bulk_calls_wait_and_forty_streams_are_open()
    {
        using var stop = new CancellationTokenSource();
        var model = new FakeModel { OnForward = batch => Thread.SpinWait(200 * batch.Tokens) };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        // Texts of its own for each call: those that calls have in common are computed once, and all calls could end in time.
        Task[] bulk = [.. Enumerable.Range(0, 200).Select(call => Task.Run(async () => await pool.EmbedAsync(
            [.. Enumerable.Range(0, 500).Select(i => $"bulk text {call:000} {i:000}")], null, WaitingBulk, stop.Token)))];
        Task[] streams = [.. Enumerable.Range(0, 40).Select(i => Task.Run(async () => await ReadAsync(pool, stop.Token)))];
        await Wait.UntilAsync(() => pool.GetHealth().QueuedCallCount >= 200 + 40, "bulk waits");

        // Each is sent whether or not the last was answered.
        var interactive = new List<Task<float[]>>();
        for (int i = 0; i < 200; i++)
        {
            interactive.Add(pool.EmbedAsync($"interactive {i}"));
            await Task.Delay(10);
        }

        float[][] vectors = await Task.WhenAll(interactive).WaitAsync(Wait.Limit);
        Assert.That(vectors, Is.EqualTo(Enumerable.Range(0, 200).Select(i => FakeModel.Vector($"interactive {i}"))));
        Assert.That(bulk, Has.Some.Property(nameof(Task.IsCompleted)).False, "bulk waited all the time");
        await stop.CancelAsync();
        await Task.WhenAll([.. bulk, .. streams]).ContinueWith(_ => { }, TaskScheduler.Default);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Bulk_calls_are_limited_to_three_quarters_of_the_calls_and_interactive_calls_fill_the_rest()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxQueuedCalls = 8 });
        Task[] bulk = [.. Enumerable.Range(0, 6).Select(i => pool.EmbedAsync($"b{i}", null, Bulk))];
        var error = Assert.ThrowsAsync<StellaOverloadedException>(() => pool.EmbedAsync("b6", null, Bulk))!;
        Assert.That((error.QueuedCallCount, error.MaxQueuedCalls, error.MaxQueuedTokens), Is.EqualTo((6, 6, 4800L)));
        Assert.That(error.Message, Does.Contain("bulk"));
        Task[] interactive = [.. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"i{i}"))];
        Assert.That(async () => await pool.EmbedAsync("i2"), Throws.TypeOf<StellaOverloadedException>().With.Property("MaxQueuedCalls").EqualTo(8));
        gate.Open();
        await Task.WhenAll([.. bulk, .. interactive]);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Bulk_calls_are_limited_to_their_share_of_the_tokens()
    {
        using var gate = new Gate();
        var model = new FakeModel { OnForward = _ => gate.Pass() };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxQueuedTokens = 800, BulkShare = 0.5 });
        Task first = pool.EmbedAsync("runs");
        await gate.ArrivedAsync();
        Task[] bulk = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"{i}{new string('b', 98)}", null, Bulk))];
        Assert.That(async () => await pool.EmbedAsync("b", null, Bulk), Throws.TypeOf<StellaOverloadedException>().With.Property("MaxQueuedTokens").EqualTo(400));
        Task[] interactive = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"{i}{new string('i', 98)}"))];
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.EqualTo(800));
        gate.Open();
        await Task.WhenAll([first, .. bulk, .. interactive]);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_waiting_bulk_call_is_accepted_while_interactive_calls_keep_the_queue_full()
    {
        using var gate = new SemaphoreSlim(0);
        var model = new FakeModel { OnForward = _ => Assert.That(gate.Wait(Wait.Limit)) };
        StellaEmbeddingPool pool = PoolOf.Fake(model, PoolOf.Options with { MaxQueuedTokens = 400 });
        string text(int i) => $"{i:000}{new string('x', 96)}";
        var interactive = new List<Task>();
        int sent = 0;
        void fill()
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

        fill();
        await Wait.UntilAsync(() => pool.GetHealth().BusyWorkerCount == 1, "the first runs");
        fill();
        Task bulk = pool.EmbedAsync([.. Enumerable.Range(0, 3).Select(i => $"b{text(i)[2..]}")], null, WaitingBulk);
        for (int i = 0; i < 200 && !bulk.IsCompleted; i++)
        {
            int forwards = model.Forwards;
            gate.Release();
            await Wait.UntilAsync(() => model.Forwards > forwards || bulk.IsCompleted, "the next forward");
            fill();
        }

        Assert.That(bulk.IsCompletedSuccessfully, "bulk got its share of the queue and of the workers");
        gate.Release(10_000);
        await Task.WhenAll(interactive);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_batch_with_an_interactive_text_contains_no_bulk_texts()
    {
        using var gate = new Gate();
        var batches = new List<string[]>();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                gate.Pass();
                batches.Add(batch.Texts);
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task first = pool.EmbedAsync("first");
        await gate.ArrivedAsync();
        Task bulk = pool.EmbedAsync([.. Enumerable.Range(0, 20).Select(i => $"bulk {i:000}")], null, Bulk);
        Task interactive = pool.EmbedAsync("interactive");
        gate.Open();
        await Task.WhenAll(first, bulk, interactive);
        Assert.That(batches[1], Is.EqualTo((string[])["interactive"]));
        Assert.That(batches.Count, Is.InRange(4, 6));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    private static async Task ReadAsync(StellaEmbeddingPool pool, CancellationToken stop)
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
