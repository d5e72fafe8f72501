using Microsoft.Extensions.Time.Testing;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>Reloads of a model whose token limit has changed.</summary>
internal sealed class ReloadTests
{
    private const int LongLimit = 2000;
    private const int ShortLimit = 10;

    private static readonly StellaCallOptions Waiting = new() { QueueFullMode = StellaQueueFullMode.Wait, Timeout = TimeSpan.FromHours(1) };

    /// <summary>The queue limit follows the token limit of the model: 4,000 tokens with the long limit, 1,024 with the short limit.</summary>
    private static StellaPoolOptions QueueFollowsModel => TestPool.Options with
    {
        Model = new StellaModelOptions { Threads = 1 },
        MaxBatchTokens = ShortLimit,
        MaxQueuedTokens = 1024,
        CircuitBreaker = new() { FailureThreshold = 1000, ReplacementThreshold = 1000 },
    };

    [Test]
    public async Task Waiting_calls_larger_than_the_queue_of_the_reloaded_model_are_answered(
        [Values] StellaPriority priority)
    {
        using var pause = new PausePoint();
        FakeModel model = LosesFirstWorker(pause);
        StellaEmbeddingPool pool = TestPool.Create(model, QueueFollowsModel);
        _ = await pool.WarmUpAsync();
        Task<StellaEmbeddings> lost = pool.EmbedAsync(Texts("lost"), null, Waiting with { Priority = priority });
        await pause.EnteredAsync();
        Task<StellaEmbeddings>[] waiting =
            [.. Enumerable.Range(0, 3).Select(i => pool.EmbedAsync(Texts($"waits {i}"), null, Waiting with { Priority = priority }))];
        Assert.That(pool.GetHealth().QueuedCallCount, Is.EqualTo(4));
        model.MaxTokens = ShortLimit;
        pause.Release();
        Assert.That(async () => await lost, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        StellaEmbeddings[] found = await Task.WhenAll(waiting).WaitAsync(Eventually.Timeout);
        for (int i = 0; i < found.Length; i++)
        {
            Assert.That(found[i][0].ToArray(), Is.EqualTo(FakeModel.Vector($"waits {i}, text 0"[..(ShortLimit - 1)])));
        }

        Assert.That(model.Loads, Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Texts_tokenized_for_a_lost_model_never_reach_the_next_model()
    {
        using var pause = new PausePoint();
        FakeModel model = LosesFirstWorker(pause);
        StellaEmbeddingPool? pool = null;
        Task<float[]>? late = null;
        // The pool sets the timer of its retry while it gives up the model. A call that arrives at that moment loads the model again.
        var clock = new CallbackClock
        {
            OnChange = () =>
            {
                late = Task.Run(() => pool!.EmbedAsync("late"));
                Assert.That(late.Wait(Eventually.Timeout), "the late call was not answered");
            },
        };
        pool = TestPool.Create(model, QueueFollowsModel with { TimeProvider = clock });
        _ = await pool.WarmUpAsync();
        Task<float[]> first = pool.EmbedAsync(new string('a', 1500));
        await pause.EnteredAsync();
        Task<float[]> second = pool.EmbedAsync(new string('b', 1500));
        await Eventually.IsTrueAsync(() => pool.GetHealth().QueuedTokenCount > 0, "the second text is queued");
        model.MaxTokens = ShortLimit;
        pause.Release();
        Assert.That(async () => await first, Throws.InstanceOf<StellaException>());
        Assert.That(async () => await second, Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        await Eventually.IsTrueAsync(() => late is not null, "the pool gave up the model");
        Assert.That(await late!, Is.EqualTo(FakeModel.Vector("late")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_worker_that_starts_after_its_model_was_unloaded_uses_the_batch_size_of_its_own_model()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var model = new FakeModel
        {
            MaxTokens = LongLimit,
            OnForward = batch =>
            {
                if (batch.Texts[0] != "warm")
                {
                    pause.Enter();
                }
            },
        };
        Thread? late = null;
        StellaEmbeddingPool pool = TestPool.Create(model, QueueFollowsModel with
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
        Task<float[]> first = pool.EmbedAsync(new string('a', LongLimit - 1));
        await pause.EnteredAsync();
        Task<float[]>[] calls = [first, .. Enumerable.Range(0, 2).Select(i => pool.EmbedAsync($"{i}{new string('a', LongLimit - 2)}"))];
        await Eventually.IsTrueAsync(() => late is not null, "a second worker was requested");
        pause.Release();
        _ = await Task.WhenAll(calls);
        await Eventually.IsTrueAsync(
            () =>
            {
                clock.Advance(TimeSpan.FromSeconds(15));
                return pool.GetHealth().ModelState == StellaPoolModelState.Unloaded;
            },
            "the model is unloaded");
        model.MaxTokens = ShortLimit;
        Assert.That(await pool.EmbedAsync("short"), Is.EqualTo(FakeModel.Vector("short")));
        late!.UnsafeStart();
        Assert.That(late.Join(Eventually.Timeout), "the late worker did not end");
        Assert.That(model.SessionsMade, Is.EqualTo(3));
        await pool.DisposeAsync();
        // With a join timeout of zero, Dispose does not wait for the workers.
        await Eventually.IsTrueAsync(() => (model.Models, model.Sessions) == (0, 0), "the other worker has ended");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Creates a model whose first worker breaks in its second forward pass and cannot be replaced.</summary>
    private static FakeModel LosesFirstWorker(PausePoint pause)
    {
        var model = new FakeModel { MaxTokens = LongLimit };
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
                pause.Enter();
                throw new StellaException(StellaErrorCode.Panic, "thrown by the test");
            }
        };
        return model;
    }

    /// <summary>
    /// Returns the texts of one call. They are enough that the call keeps its whole reservation during its first batch, and so short that
    /// the batch has several texts and no single text is blamed.
    /// </summary>
    private static string[] Texts(string name) =>
        [.. Enumerable.Range(0, 40).Select(i => $"{name}, text {i}".PadRight(300, '.'))];
}
