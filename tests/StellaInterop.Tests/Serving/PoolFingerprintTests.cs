using Microsoft.Extensions.Time.Testing;
using StellaInterop.Tests.Threading;

namespace StellaInterop.Tests.Serving;

/// <summary>The fingerprint that a pool reads on a separate thread, for callers that wait, cancel, or outlive the pool.</summary>
internal sealed class PoolFingerprintTests
{
    [Test]
    public async Task A_fingerprint_request_loads_the_model_and_returns_its_fingerprint()
    {
        using var model = StellaModel.Load(Fixtures.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"), TestPool.Options);
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Is.EqualTo(model.GetFingerprint()));
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded));
    }

    [Test]
    public async Task Each_dimension_has_its_own_fingerprint_and_an_unknown_dimension_fails_only_its_caller()
    {
        using var model = StellaModel.Load(Fixtures.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"), TestPool.Options);
        Task<string>[] requests = [.. new int?[] { null, 256, 512, 768, 1024 }.Select(dimension => pool.GetFingerprintAsync(dimension))];
        Assert.That(async () => await requests[2].WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaOptionException>());
        string[] found = await Task.WhenAll(requests[0], requests[1], requests[3], requests[4]).WaitAsync(Eventually.Timeout);
        Assert.That(
            found,
            Is.EqualTo(new[] { model.GetFingerprint(1024), model.GetFingerprint(256), model.GetFingerprint(768), model.GetFingerprint() }));
        Assert.That(found.Distinct().Count(), Is.EqualTo(3));
        Assert.That(async () => await pool.GetFingerprintAsync(0), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public async Task A_request_for_another_dimension_is_answered_by_the_running_fingerprint_thread()
    {
        using var resume = new ManualResetEventSlim();
        using var reading = new ManualResetEventSlim();
        int reads = 0;
        var threads = new FakeThreads();
        var model = new FakeModel
        {
            OnFingerprint = () =>
            {
                reading.Set();
                resume.Wait();
                return $"f{Interlocked.Increment(ref reads)}";
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Eventually.Timeout);
        int before = threads.Requested;
        Task<string> first = pool.GetFingerprintAsync();
        reading.Wait();
        Task<string> second = pool.GetFingerprintAsync(2);
        resume.Set();
        Assert.That(await Task.WhenAll(first, second).WaitAsync(Eventually.Timeout), Is.EqualTo(new[] { "f1", "f2" }));
        Assert.That(await pool.GetFingerprintAsync(2).WaitAsync(Eventually.Timeout), Is.EqualTo("f2"));
        Assert.That(threads.Requested - before, Is.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Callers_share_one_fingerprint_thread_and_texts_are_embedded_meanwhile()
    {
        using var resume = new ManualResetEventSlim();
        int reads = 0;
        var threads = new FakeThreads();
        var model = new FakeModel
        {
            OnFingerprint = () =>
            {
                Interlocked.Increment(ref reads);
                resume.Wait();
                return "f";
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Eventually.Timeout);
        int before = threads.Requested;
        Task<string>[] requests = [.. Enumerable.Range(0, 5).Select(_ => pool.GetFingerprintAsync())];
        Assert.That(await pool.EmbedAsync("a").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("a")));
        Assert.That(requests.Any(request => request.IsCompleted), Is.False);
        resume.Set();
        Assert.That(await Task.WhenAll(requests).WaitAsync(Eventually.Timeout), Is.All.EqualTo("f"));
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Is.EqualTo("f"));
        Assert.That((reads, threads.Requested - before), Is.EqualTo((1, 1)), "the fingerprint is read once, on one thread, and cached");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_caller_is_answered_and_the_other_callers_keep_waiting()
    {
        using var resume = new ManualResetEventSlim();
        using var source = new CancellationTokenSource();
        var model = new FakeModel { OnFingerprint = () => { resume.Wait(); return "f"; } };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<string> cancelled = pool.GetFingerprintAsync(cancellationToken: source.Token);
        Task<string> other = pool.GetFingerprintAsync();
        await source.CancelAsync();
        Assert.That(async () => await cancelled.WaitAsync(Eventually.Timeout), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(other.IsCompleted, Is.False);
        resume.Set();
        Assert.That(await other.WaitAsync(Eventually.Timeout), Is.EqualTo("f"));
        Assert.That(async () => await pool.GetFingerprintAsync(cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_fingerprint_error_is_not_cached()
    {
        var error = new StellaModelFolderException(StellaErrorCode.ModelFileInvalid, "thrown by the test");
        var model = new FakeModel { OnFingerprint = () => throw error };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Throws.Exception.SameAs(error));
        model.OnFingerprint = () => "f";
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Is.EqualTo("f"));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_refused_fingerprint_thread_is_a_typed_error_and_the_next_caller_gets_the_fingerprint()
    {
        var model = new FakeModel();
        var threads = new FakeThreads();
        StellaEmbeddingPool pool = TestPool.Create(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Eventually.Timeout);
        int next = threads.Requested + 1;
        threads.Refuses = n => n == next;
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaThreadException>());
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Is.EqualTo("fake"));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_failed_load_is_the_error_of_the_fingerprint()
    {
        var error = new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "thrown by the test");
        var model = new FakeModel { OnLoad = () => throw error };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Throws.Exception.SameAs(error));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_model_is_not_unloaded_while_its_fingerprint_is_read()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        var clock = new FakeTimeProvider();
        StellaPoolOptions options = TestPool.Options with { MinWorkers = 0, TimeProvider = clock };
        StellaEmbeddingPool pool = TestPool.Create(model, options);
        Task<string> request = pool.GetFingerprintAsync();
        Eventually.IsSet(blocked.Reading);
        clock.Advance(options.IdleTimeout * 2);
        Assert.That((model.Models, request.IsCompleted), Is.EqualTo((1, false)));
        blocked.Resume.Set();
        Assert.That(await request.WaitAsync(Eventually.Timeout), Is.EqualTo("f"));
        clock.Advance(options.IdleTimeout * 2);
        Assert.That(model.Models, Is.Zero, "the idle model was not unloaded");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_answers_fingerprint_callers_at_once_and_waits_for_the_read()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<string> request = pool.GetFingerprintAsync();
        Eventually.IsSet(blocked.Reading);
        Task disposed = Task.Run(pool.Dispose);
        Assert.That(async () => await request.WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(disposed.IsCompleted, Is.False);
        blocked.Resume.Set();
        await disposed.WaitAsync(Eventually.Timeout);
        Assert.That(async () => await pool.GetFingerprintAsync(), Throws.TypeOf<ObjectDisposedException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_during_a_load_answers_the_fingerprint_callers()
    {
        using var resume = new ManualResetEventSlim();
        using var loads = new ManualResetEventSlim();
        var model = new FakeModel { OnLoad = () => { loads.Set(); resume.Wait(); } };
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<string> request = pool.GetFingerprintAsync();
        Assert.That(loads.Wait(Eventually.Timeout));
        Task disposed = Task.Run(pool.Dispose);
        Assert.That(async () => await request.WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaPoolClosedException>());
        resume.Set();
        await disposed.WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_drain_waits_for_the_fingerprint()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<string> request = pool.GetFingerprintAsync();
        Eventually.IsSet(blocked.Reading);
        Task drained = pool.DrainAsync(TimeSpan.FromMinutes(5));
        Assert.That(async () => await pool.GetFingerprintAsync(), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(drained.IsCompleted, Is.False);
        blocked.Resume.Set();
        Assert.That(await request.WaitAsync(Eventually.Timeout), Is.EqualTo("f"));
        await drained.WaitAsync(Eventually.Timeout);
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Dispose_on_the_fingerprint_thread_does_not_deadlock()
    {
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel { OnFingerprint = () => { pool!.Dispose(); return "f"; } };
        pool = TestPool.Create(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Eventually.Timeout), Throws.TypeOf<StellaPoolClosedException>());
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>A model whose fingerprint read blocks until the test sets <see cref="Resume"/>.</summary>
    private sealed class BlockedRead : IDisposable
    {
        public BlockedRead() => Model = new FakeModel
        {
            OnFingerprint = () =>
            {
                Reading.Set();
                Resume.Wait();
                return "f";
            },
        };

        public FakeModel Model { get; }

        public ManualResetEventSlim Reading { get; } = new();

        public ManualResetEventSlim Resume { get; } = new();

        public void Dispose()
        {
            Reading.Dispose();
            Resume.Dispose();
        }
    }
}
