using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>The bounded queue: refusals, waiting for room, deadlines and cancellation.</summary>
internal sealed class QueueTests
{
    private static StellaCallOptions Waiting => new() { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(1) };

    [Test]
    public async Task A_full_queue_refuses_at_once_and_reports_its_counts_and_limits()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 3 });
        Task<float[]>[] accepted = [.. Enumerable.Range(0, 3).Select(i => pool.EmbedAsync($"{i}"))];
        var error = Assert.ThrowsAsync<StellaOverloadedException>(() => pool.EmbedAsync("beyond the limit"))!;
        Assert.Multiple(() =>
        {
            Assert.That((error.Code, error.QueuedCallCount, error.MaxQueuedCalls, error.MaxQueuedTokens), Is.EqualTo((StellaErrorCode.Overloaded, 3, 3, 6400L)));
            Assert.That(error.RetryAfter, Is.GreaterThan(TimeSpan.Zero));
            Assert.That(error.Message, Does.Contain("3 of 3 calls").And.Contain("of 6400 tokens"));
        });
        pause.Release();
        await Task.WhenAll(accepted);
        Assert.That(await pool.EmbedAsync("again"), Is.EqualTo(FakeModel.Vector("again")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_call_beyond_the_token_limit_is_refused()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 300 });
        Task<float[]> first = pool.EmbedAsync("runs");
        await pause.EnteredAsync();
        Task<float[]>[] queued = [.. Enumerable.Range(0, 3).Select(i => pool.EmbedAsync($"{i}{new string('x', 98)}"))];
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.EqualTo(300));
        var error = Assert.ThrowsAsync<StellaOverloadedException>(() => pool.EmbedAsync("one"))!;
        Assert.That((error.ReservedTokenCount, error.MaxQueuedTokens), Is.EqualTo((300L, 300L)));
        pause.Release();
        await first;
        await Task.WhenAll(queued);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task At_most_as_many_calls_wait_for_room_as_are_accepted()
    {
        using var pause = new PausePoint();
        var order = new List<string>();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                order.AddRange(batch.Texts);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 1 });
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Task[] waiting = [.. Enumerable.Range(0, 1).Select(i => pool.EmbedAsync($"{i}", null, Waiting))];
        Assert.That(pool.GetHealth().QueuedCallCount, Is.EqualTo(2));
        Assert.That(
            async () => await pool.EmbedAsync("also waits", null, Waiting), Throws.TypeOf<StellaOverloadedException>(),
            "one call may wait if one call is accepted");
        Assert.That(async () => await pool.EmbedAsync("does not wait"), Throws.TypeOf<StellaOverloadedException>());
        pause.Release();
        await first;
        await Task.WhenAll(waiting);
        Assert.That(order, Is.EqualTo((string[])["first", "0"]));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_call_that_waits_for_room_is_answered_at_its_deadline()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 1, TimeProvider = clock });
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Task<float[]> waiting = pool.EmbedAsync("waits", null, Waiting);
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.That(async () => await waiting, Throws.TypeOf<StellaTimeoutException>());
        Assert.That(pool.GetHealth().QueuedCallCount, Is.EqualTo(1));
        pause.Release();
        await first;
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_expired_call_is_answered_during_its_forward_pass_and_its_buffer_is_not_written_afterwards()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { TimeProvider = clock });
        float[] vectors = new float[2 * FakeModel.DefaultDimension];
        Task<StellaCallSummary> late = pool.EmbedAsync(
            (string[])["late", "shared"], vectors, default, null, new StellaCallOptions { Timeout = TimeSpan.FromSeconds(2) });
        await pause.EnteredAsync();
        Task<float[]> other = pool.EmbedAsync("shared");
        clock.Advance(TimeSpan.FromSeconds(2));
        var error = Assert.ThrowsAsync<StellaTimeoutException>(() => late)!;
        Assert.That((error.Code, error.Timeout), Is.EqualTo((StellaErrorCode.TimedOut, TimeSpan.FromSeconds(2))));
        Assert.That(error.Message, Does.Contain("2 s").And.Contain("0 of its 2 texts"));
        pause.Release();
        Assert.That(await other, Is.EqualTo(FakeModel.Vector("shared")), "the other call shares the text and still waits for it");
        Assert.That(vectors, Is.All.Zero);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_call_is_not_computed()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> first = pool.EmbedAsync("runs");
        await pause.EnteredAsync();
        using var cancel = new CancellationTokenSource();
        Task[] queued = [.. Enumerable.Range(0, 50).Select(i => pool.EmbedAsync($"queued {i}", cancellationToken: cancel.Token))];
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.GreaterThan(400));
        await cancel.CancelAsync();
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.Zero, "cancelled texts leave the queue while the worker is busy");
        foreach (Task task in queued)
        {
            var error = Assert.CatchAsync<OperationCanceledException>(() => task)!;
            Assert.That(error.CancellationToken, Is.EqualTo(cancel.Token));
        }

        pause.Release();
        await first;
        Assert.That(model.Forwards, Is.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_forward_pass_is_stopped_when_its_last_caller_cancels()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = pause.Enter };
        StellaEmbeddingPool pool = TestPool.Create(model);
        using var cancel = new CancellationTokenSource();
        Task<float[]> cancelled = pool.EmbedAsync("shared", cancellationToken: cancel.Token);
        Task<float[]> other = pool.EmbedAsync("shared");
        await pause.EnteredAsync();
        await cancel.CancelAsync();
        Assert.That(async () => await cancelled, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(pool.GetHealth().BusyWorkerCount, Is.EqualTo(1), "one caller still waits for the text");
        pause.Release();
        Assert.That(await other, Is.EqualTo(FakeModel.Vector("shared")));

        using var closed = new PausePoint();
        model.OnForward = closed.Enter;
        using var again = new CancellationTokenSource();
        Task<float[]> alone = pool.EmbedAsync("alone", cancellationToken: again.Token);
        await closed.EnteredAsync();
        await again.CancelAsync();
        Assert.That(async () => await alone, Throws.InstanceOf<OperationCanceledException>());
        await Eventually.IsTrueAsync(() => pool.GetHealth().BusyWorkerCount == 0, "the forward pass is stopped");
        model.OnForward = _ => { };
        Assert.That(await pool.EmbedAsync("alone"), Is.EqualTo(FakeModel.Vector("alone")), "a cancelled text can be computed again");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Interactive_texts_run_before_bulk_texts_and_bulk_texts_get_one_turn_in_seventeen()
    {
        using var pause = new PausePoint();
        var order = new List<string>();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                order.AddRange(batch.Texts);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 100_000, MaxQueuedCalls = 10_000 });
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        string[] texts = [.. Enumerable.Range(0, 400).Select(i => $"{i:000000000}")];
        Task bulk = pool.EmbedAsync(
            [.. texts.Take(20).Select(text => "b" + text[1..])], null, new StellaCallOptions { Priority = StellaPriority.Bulk });
        Task[] interactive = [.. texts.Select(text => pool.EmbedAsync(text))];
        pause.Release();
        await Task.WhenAll([first, bulk, .. interactive]);
        int[] positions = [.. order.Select((text, i) => (text, i)).Where(pair => pair.text[0] == 'b').Select(pair => pair.i)];
        Assert.That(positions, Has.Length.EqualTo(20));
        Assert.That(positions[0], Is.LessThan(12));
        for (int i = 1; i < positions.Length; i++)
        {
            Assert.That(positions[i] - positions[i - 1], Is.InRange(16, 18), "one bulk text among 17 texts, while both priorities are queued");
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Callers_take_turns_by_tokens_regardless_of_their_text_lengths()
    {
        using var pause = new PausePoint();
        var order = new List<string>();
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                pause.Enter();
                order.AddRange(batch.Texts);
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 100_000 });
        Task first = pool.EmbedAsync("first");
        await pause.EnteredAsync();

        // Three long calls with short and long texts, followed by a short call.
        Task[] calls =
        [
            .. new[] { ('a', 9), ('b', 9), ('c', 39) }.Select(caller => pool.EmbedAsync(
                [.. Enumerable.Range(0, 200 / (caller.Item2 + 1)).Select(i => caller.Item1 + $"{i:000}".PadRight(caller.Item2 - 1))])),
            pool.EmbedAsync("last"),
        ];
        Assert.That(pool.GetHealth().QueuedTokenCount, Is.EqualTo((3 * 200) + 5), "all texts are queued, so that only the turns decide");
        pause.Release();
        await Task.WhenAll([first, .. calls]);
        Assert.That(order.TakeWhile(text => text != "last").Sum(text => text.Length + 1), Is.LessThan(3 * 100), "the last call waits for one turn of each other call");
        var tokens = new Dictionary<char, int> { ['a'] = 0, ['b'] = 0, ['c'] = 0 };
        foreach (string text in order.Where(text => text.Length >= 9))
        {
            tokens[text[0]] += text.Length + 1;
            if (tokens.Values.All(count => count < 200))
            {
                Assert.That(tokens.Values.Max() - tokens.Values.Min(), Is.LessThanOrEqualTo(64 + 64 + 40), "callers differ by at most two turns and one text");
            }
        }

        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
