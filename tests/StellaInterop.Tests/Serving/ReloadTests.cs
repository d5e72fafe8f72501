using Microsoft.Extensions.Time.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>A model is loaded again from changed files, and its texts may be shorter or longer than before.</summary>
internal sealed class ReloadTests
{
    private const int Long = 2000;
    private const int Short = 10;

    private static readonly StellaCallOptions Waiting = new() { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromHours(1) };

    /// <summary>The limits follow the model: with long texts 4,000 tokens may wait, with short ones 1,024.</summary>
    private static StellaPoolOptions Following => PoolOf.Options with
    {
        Model = new StellaModelOptions { Threads = 1 },
        MaxBatchTokens = Short,
        MaxQueuedTokens = 1024,
        CircuitBreaker = new() { FailureThreshold = 1000, ReplacementThreshold = 1000 },
    };

    [Test]
    public async Task Waiting_calls_larger_than_the_queue_of_the_reloaded_model_are_answered(
        [Values] StellaPriority priority)
    {
        using var gate = new Gate();
        FakeModel model = LosesItsFirstWorker(gate);
        StellaEmbeddingPool pool = PoolOf.Fake(model, Following);
        _ = await pool.WarmUpAsync();
        Task<StellaEmbeddings> lost = pool.EmbedAsync(Texts("lost"), null, Waiting with { Priority = priority });
        await gate.ArrivedAsync();
        Task<StellaEmbeddings>[] waiting =
            [.. Enumerable.Range(0, 3).Select(i => pool.EmbedAsync(Texts($"waits {i}"), null, Waiting with { Priority = priority }))];
        Assert.That(pool.GetHealth().QueuedCallCount, Is.EqualTo(4));
        model.MaxTokens = Short;
        gate.Open();
        Assert.That(async () => await lost, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        StellaEmbeddings[] found = await Task.WhenAll(waiting).WaitAsync(Wait.Limit);
        for (int i = 0; i < found.Length; i++)
        {
            Assert.That(found[i][0].ToArray(), Is.EqualTo(FakeModel.Vector($"waits {i}, text 0"[..(Short - 1)])));
        }

        Assert.That(model.Loads, Is.EqualTo(2));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Texts_tokenized_for_a_lost_model_never_reach_the_next_model()
    {
        using var gate = new Gate();
        FakeModel model = LosesItsFirstWorker(gate);
        StellaEmbeddingPool? pool = null;
        Task<float[]>? late = null;
        // The timer of the next attempt is set while the model is given up: a call that comes at that moment loads it anew.
        var clock = new OddClock
        {
            OnChange = () =>
            {
                late = Task.Run(() => pool!.EmbedAsync("late"));
                Assert.That(late.Wait(Wait.Limit), "the call is answered");
            },
        };
        pool = PoolOf.Fake(model, Following with { TimeProvider = clock });
        _ = await pool.WarmUpAsync();
        Task<float[]> first = pool.EmbedAsync(new string('a', 1500));
        await gate.ArrivedAsync();
        Task<float[]> second = pool.EmbedAsync(new string('b', 1500));
        await Wait.UntilAsync(() => pool.GetHealth().QueuedTokenCount > 0, "a text waits");
        model.MaxTokens = Short;
        gate.Open();
        Assert.That(async () => await first, Throws.InstanceOf<StellaException>());
        Assert.That(async () => await second, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        await Wait.UntilAsync(() => late is not null, "the model is given up");
        Assert.That(await late!, Is.EqualTo(FakeModel.Vector("late")));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_worker_that_starts_after_its_model_was_unloaded_uses_the_batch_size_of_its_own_model()
    {
        using var gate = new Gate();
        var clock = new FakeTimeProvider();
        var model = new FakeModel
        {
            MaxTokens = Long,
            OnForward = batch =>
            {
                if (batch.Texts[0] != "warm")
                {
                    gate.Pass();
                }
            },
        };
        Thread? late = null;
        StellaEmbeddingPool pool = PoolOf.Fake(model, Following with
        {
            MinWorkers = 0,
            MaxWorkers = 2,
            TimeProvider = clock,
            IdleTimeout = TimeSpan.FromSeconds(10),
            JoinTimeout = TimeSpan.Zero,
            StartThread = thread =>
            {
                if (thread.Name == "stella worker 2" && late is null)
                {
                    late = thread;
                }
                else
                {
                    thread.UnsafeStart();
                }
            },
        });
        _ = await pool.WarmUpAsync();
        Task<float[]> first = pool.EmbedAsync(new string('a', Long - 1));
        await gate.ArrivedAsync();
        Task<float[]>[] calls = [first, .. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"{i}{new string('a', Long - 2)}"))];
        await Wait.UntilAsync(() => late is not null, "a second worker is started");
        gate.Open();
        _ = await Task.WhenAll(calls);
        await Wait.UntilAsync(
            () =>
            {
                clock.Advance(TimeSpan.FromSeconds(15));
                return pool.GetHealth().ModelState == StellaPoolModelState.Unloaded;
            },
            "the model is unloaded");
        model.MaxTokens = Short;
        Assert.That(await pool.EmbedAsync("short"), Is.EqualTo(FakeModel.Vector("short")));
        late!.UnsafeStart();
        Assert.That(late.Join(Wait.Limit), "the late worker ends");
        Assert.That(model.SessionsMade, Is.EqualTo(3));
        await pool.DisposeAsync();
        // Without a join time the pool waits for none of its workers.
        await Wait.UntilAsync(() => (model.Models, model.Sessions) == (0, 0), "the other worker ends");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    /// <summary>A model with long texts whose worker breaks in its second forward, and has no successor.</summary>
    private static FakeModel LosesItsFirstWorker(Gate gate)
    {
        var model = new FakeModel { MaxTokens = Long };
        model.OnSession = number =>
        {
            if (number == 2)
            {
                throw new StellaException(StellaErrorCode.OutOfMemory, "no session");
            }
        };
        model.OnForward = batch =>
        {
            if (model.Loads == 1 && batch.Texts[0] != "warm")
            {
                gate.Pass();
                throw new StellaException(StellaErrorCode.Panic, "made by a test");
            }
        };
        return model;
    }

    /// <summary>
    /// Texts of one call: so many that the first call keeps its whole reservation while its first batch runs, and so short that
    /// this batch holds several, none of which is blamed alone.
    /// </summary>
    private static string[] Texts(string name) =>
        [.. Enumerable.Range(0, 40).Select(i => $"{name}, text {i}".PadRight(300, '.'))];
}
