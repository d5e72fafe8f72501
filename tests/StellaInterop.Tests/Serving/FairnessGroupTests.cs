namespace StellaInterop.Tests.Serving;

/// <summary>Groups of calls share the queue and the workers, however many calls each of them sends.</summary>
internal sealed class FairnessGroupTests
{
    private static StellaCallOptions Of(string group) => new() { FairnessGroup = group };

    private static StellaCallOptions WaitingOf(string group) =>
        Of(group) with { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromMinutes(5) };

    [Test]
    public async Task A_group_holds_only_as_many_calls_as_it_leaves_free()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 8 });
        Task[] first = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"a{i}", null, Of("a")))];
        Assert.That(
            async () => await pool.EmbedAsync("a4", null, Of("a")).WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOverloadedException>().With.Message.Contains("'a', which holds 4 calls"));
        Task[] second = [.. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"b{i}", null, Of("b")))];
        Assert.That(async () => await pool.EmbedAsync("b2", null, Of("b")).WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOverloadedException>().With.Message.Contains("'b'"));
        Task[] rest = [.. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"{i}"))];
        Assert.That(async () => await pool.EmbedAsync("c", null, Of("c")).WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOverloadedException>());
        pause.Release();
        await Task.WhenAll([.. first, .. second, .. rest]).WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_group_reserves_only_as_many_tokens_as_it_leaves_free()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedTokens = 800 });
        Task runs = pool.EmbedAsync("runs");
        await pause.EnteredAsync();
        Task[] first = [.. Enumerable.Range(0, 4).Select(i => pool.EmbedAsync($"{i}{new string('a', 98)}", null, Of("a")))];
        Assert.That(async () => await pool.EmbedAsync(new string('a', 98), null, Of("a")).WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOverloadedException>());
        Task other = pool.EmbedAsync(new string('b', 98), null, Of("b"));
        pause.Release();
        await Task.WhenAll([runs, .. first, other]).WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_only_call_of_a_group_may_fill_the_queue()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 1 });
        Assert.That(await pool.EmbedAsync("alone", null, Of("a")), Is.EqualTo(FakeModel.Vector("alone")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Groups_take_turns_however_many_calls_they_have()
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
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task runs = pool.EmbedAsync("runs");
        await pause.EnteredAsync();
        // A text has half of the tokens of a batch, so that each batch shows whose turns it took.
        Task[] many = [.. Enumerable.Range(0, 12).Select(i => pool.EmbedAsync($"a{i:00}{new string('x', 40)}", null, Of("many")))];
        Task[] few = [.. Enumerable.Range(0, 3).Select(i => pool.EmbedAsync($"b{i:00}{new string('x', 40)}", null, Of("few")))];
        pause.Release();
        await Task.WhenAll([runs, .. many, .. few]).WaitAsync(Eventually.Timeout);
        int last = order.FindLastIndex(text => text.StartsWith('b'));
        Assert.That(order[1..(last + 1)].Count(text => text.StartsWith('a')), Is.InRange(2, 4), string.Join(' ', order.Select(text => text[..3])));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_waiting_group_does_not_block_the_calls_of_another()
    {
        using var pause = new PausePoint();
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, TestPool.Options with { MaxQueuedCalls = 8 });
        // Four are accepted, the others wait.
        Task[] first = [.. Enumerable.Range(0, 8).Select(i => pool.EmbedAsync($"a{i}", null, WaitingOf("a")))];
        Assert.That(async () => await pool.EmbedAsync("a8", null, WaitingOf("a")).WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOverloadedException>(), "a group leaves places in the waiting line");
        Task[] other = [.. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"b{i}", null, Of("b")))];
        Assert.That(other, Has.All.Property(nameof(Task.IsFaulted)).False);
        pause.Release();
        await Task.WhenAll([.. first, .. other]).WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }
}
