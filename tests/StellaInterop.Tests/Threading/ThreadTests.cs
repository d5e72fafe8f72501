using Microsoft.Extensions.Time.Testing;
using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>The system refuses threads, as at a limit on processes. Calls get typed errors, and the pool recovers.</summary>
internal sealed class ThreadTests
{
    private static readonly string[] Texts = [.. Enumerable.Range(0, 8).Select(i => $"text {i}")];

    private static StellaException Panic => new(StellaErrorCode.Panic, "thrown by the test");

    [Test]
    public async Task A_refusal_of_any_thread_is_a_typed_error_and_the_pool_recovers([Range(1, 6)] int refused)
    {
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads { Refuses = n => n == refused };
        int forwards = 0;
        var model = new FakeModel
        {
            OnForward = _ =>
            {
                // Every third forward pass breaks its worker, so that the pool needs replacements.
                if (Interlocked.Increment(ref forwards) % 3 == 0)
                {
                    throw Panic;
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options with
        {
            TimeProvider = clock,
            MinWorkers = 2,
            MaxWorkers = 3,
            // On a slow system the workers need more forward passes, so that more of them break.
            CircuitBreaker = new() { FailureThreshold = 1000, ReplacementThreshold = 1000 },
        });
        for (int i = 0; i < 20; i++)
        {
            try
            {
                Assert.That((await pool.EmbedAsync(Texts).WaitAsync(Eventually.Timeout)).Count, Is.EqualTo(Texts.Length));
            }
            catch (StellaThreadException e)
            {
                Assert.That((e.Code, e.InnerException), Is.EqualTo((StellaErrorCode.ThreadRefused, threads.Error)));
            }
            catch (StellaInputException e)
            {
                Assert.That(e.InnerException!.Message, Is.EqualTo(Panic.Message), "a text that was alone in a forward pass that panicked");
            }

            Assert.That(pool.GetHealth().WorkerCount, Is.LessThanOrEqualTo(threads.Alive));
            clock.Advance(TimeSpan.FromSeconds(6));
        }

        Assert.That(threads.Requested, Is.GreaterThanOrEqualTo(refused), "the pool did not ask for this thread");
        await Eventually.IsTrueAsync(() => pool.GetHealth().WorkerCount == 2, "the pool has its minimum of workers again");
        await TestPool.DisposeAndCheckAsync(pool, model);
        await Eventually.IsTrueAsync(() => threads.Alive == 0, "all threads have ended");
    }

    [Test]
    public async Task A_broken_worker_without_replacement_fails_its_calls_with_a_typed_error_and_the_pool_recovers_without_calls()
    {
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads();
        using var pause = new PausePoint();
        bool panics = true;
        var model = new FakeModel
        {
            OnForward = _ =>
            {
                pause.Enter();
                if (panics)
                {
                    throw Panic;
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options with { TimeProvider = clock });
        Task<StellaEmbeddings> call = pool.EmbedAsync(Texts);
        await pause.EnteredAsync();
        Task<float[]> other = pool.EmbedAsync("text of another caller");
        threads.Refuses = _ => true;
        pause.Release();
        Assert.That(async () => await call, Throws.TypeOf<StellaThreadException>());
        Assert.That(async () => await other, Throws.TypeOf<StellaThreadException>());
        Assert.That(async () => await pool.EmbedAsync("later"), Throws.TypeOf<StellaThreadException>(), "the load gets no thread");
        StellaPoolHealth health = pool.GetHealth();
        Assert.That((health.Status, health.WorkerCount), Is.EqualTo((StellaPoolStatus.Unhealthy, 0)));
        Assert.That(health.LastLoadError, Is.TypeOf<StellaThreadException>());
        await Eventually.IsTrueAsync(() => model.Models == 0 && model.Sessions == 0, "the model without workers is disposed");

        int requested = threads.Requested;
        clock.Advance(TimeSpan.FromSeconds(5));
        Assert.That(threads.Requested, Is.GreaterThan(requested), "the load is retried without calls");
        panics = false;
        threads.Refuses = _ => false;
        clock.Advance(TimeSpan.FromMinutes(1));
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { Status: StellaPoolStatus.Healthy, WorkerCount: 1 }, "the pool has recovered");
        Assert.That(await pool.EmbedAsync("later"), Is.EqualTo(FakeModel.Vector("later")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_pause_between_failed_loads_doubles_up_to_one_minute()
    {
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads { Refuses = _ => true };
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options with { TimeProvider = clock });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaThreadException>());
        var pauses = new List<double>();
        for (int i = 0, seconds = 0; pauses.Count < 9; i++)
        {
            int before = threads.Requested;
            clock.Advance(TimeSpan.FromSeconds(1));
            seconds++;
            if (threads.Requested > before)
            {
                pauses.Add(seconds);
                seconds = 0;
            }

            Assert.That(i, Is.LessThan(1000), "the pool stopped its retries");
        }

        Assert.That(pauses, Is.EqualTo((double[])[1, 2, 4, 8, 16, 32, 60, 60, 60]));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_pool_that_was_refused_threads_grows_when_the_system_has_threads_again()
    {
        using var pause = new PausePoint();
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads { Refuses = n => n > 2 };
        var model = new FakeModel { OnForward = _ => pause.Enter() };
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options with { MaxBatchTokens = 100, MaxWorkers = 4, TimeProvider = clock });
        Task[] calls = [.. Enumerable.Range(0, 40).Select(i => pool.EmbedAsync($"{i:00}{new string('x', 97)}"))];
        await pause.EnteredAsync();
        await Eventually.IsTrueAsync(() => pool.GetHealth() is { Status: StellaPoolStatus.Degraded, WorkerCount: 1 }, "the pool reports its one worker");
        int requested = threads.Requested;
        clock.Advance(TimeSpan.FromSeconds(60));
        Assert.That(threads.Requested, Is.GreaterThan(requested), "the timer asks for threads");
        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(1));
        threads.Refuses = _ => false;
        for (int i = 0; i < 4; i++)
        {
            clock.Advance(TimeSpan.FromSeconds(60));
        }

        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(4));
        pause.Release();
        await Task.WhenAll(calls);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_pool_starts_with_the_workers_it_gets_and_grows_to_MinWorkers_later()
    {
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads { Refuses = n => n > 3 };
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options with { MinWorkers = 4, MaxWorkers = 4, TimeProvider = clock });
        _ = await pool.WarmUpAsync();
        Assert.That(pool.GetHealth().WorkerCount, Is.EqualTo(2), "the load used one of the three threads");
        Assert.That((await pool.EmbedAsync(Texts)).Count, Is.EqualTo(Texts.Length));
        threads.Refuses = _ => false;
        for (int i = 0; i < 2; i++)
        {
            clock.Advance(TimeSpan.FromSeconds(60));
        }

        await Eventually.IsTrueAsync(() => pool.GetHealth() is { WorkerCount: 4, Status: StellaPoolStatus.Healthy }, "the pool has four workers");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_load_without_a_thread_does_not_prevent_a_later_unload()
    {
        var clock = new FakeTimeProvider();
        var threads = new FakeThreads { Refuses = n => n == 1 };
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(
            model, threads.Options with { MinWorkers = 0, IdleTimeout = TimeSpan.FromSeconds(10), TimeProvider = clock });
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaThreadException>());
        _ = await pool.EmbedAsync("two");
        clock.Advance(TimeSpan.FromSeconds(15));
        await Eventually.IsTrueAsync(() => model.Models == 0, "the idle model is unloaded");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_first_worker_without_a_thread_fails_the_load_with_a_typed_error_and_frees_the_model()
    {
        var threads = new FakeThreads { Refuses = n => n == 2 };
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options);
        var error = Assert.ThrowsAsync<StellaThreadException>(() => pool.EmbedAsync("one"))!;
        Assert.That(error.Message, Does.Contain("stella worker 1").And.Contain("limit on threads"));
        Assert.That((model.Loads, model.Models), Is.EqualTo((1, 0)));
        Assert.That(await pool.EmbedAsync("two"), Is.EqualTo(FakeModel.Vector("two")));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_pool_without_threads_can_be_disposed()
    {
        var threads = new FakeThreads { Refuses = _ => true };
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options);
        Assert.That(async () => await pool.EmbedAsync("one"), Throws.TypeOf<StellaThreadException>());
        pool.Dispose();
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task An_uncaught_error_of_a_pool_thread_is_reported()
    {
        Exception? seen = null;
        var thread = new PoolThread("the test", () => throw new InvalidOperationException("an uncaught error"), error => seen = error);
        thread.Start(inner => inner.UnsafeStart());
        await thread.WaitEndedAsync().WaitAsync(Eventually.Timeout);
        Assert.That(seen!.Message, Is.EqualTo("an uncaught error"));
    }
}
