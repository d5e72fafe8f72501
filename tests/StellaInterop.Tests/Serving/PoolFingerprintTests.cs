using Microsoft.Extensions.Time.Testing;
using StellaInterop.Tests.Threading;

namespace StellaInterop.Tests.Serving;

/// <summary>The fingerprint through a pool: on a thread of its own, for callers that wait, cancel and outlive the pool.</summary>
internal sealed class PoolFingerprintTests
{
    [Test]
    public async Task A_fingerprint_request_loads_the_model_and_returns_its_fingerprint()
    {
        using var model = StellaModel.Load(Tree.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Tree.Model("tiny-new"), PoolOf.Options);
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Is.EqualTo(model.GetFingerprint()));
        Assert.That(pool.GetHealth().ModelState, Is.EqualTo(StellaPoolModelState.Loaded));
    }

    [Test]
    public async Task Each_dimension_has_its_own_fingerprint_and_an_unknown_dimension_fails_only_its_caller()
    {
        using var model = StellaModel.Load(Tree.Model("tiny-new"));
        await using var pool = new StellaEmbeddingPool(Tree.Model("tiny-new"), PoolOf.Options);
        Task<string>[] asked = [.. new int?[] { null, 256, 512, 768, 1024 }.Select(dimension => pool.GetFingerprintAsync(dimension))];
        Assert.That(async () => await asked[2].WaitAsync(Wait.Limit), Throws.TypeOf<StellaOptionException>());
        string[] found = await Task.WhenAll(asked[0], asked[1], asked[3], asked[4]).WaitAsync(Wait.Limit);
        Assert.That(
            found,
            Is.EqualTo(new[] { model.GetFingerprint(1024), model.GetFingerprint(256), model.GetFingerprint(768), model.GetFingerprint() }));
        Assert.That(found.Distinct().Count(), Is.EqualTo(3));
        Assert.That(async () => await pool.GetFingerprintAsync(0), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public async Task A_request_for_another_dimension_is_answered_by_the_running_fingerprint_thread()
    {
        using var go = new ManualResetEventSlim();
        using var reading = new ManualResetEventSlim();
        int reads = 0;
        var threads = new FakeThreads();
        var model = new FakeModel
        {
            OnFingerprint = () =>
            {
                reading.Set();
                go.Wait();
                return $"f{Interlocked.Increment(ref reads)}";
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Wait.Limit);
        int before = threads.Asked;
        Task<string> first = pool.GetFingerprintAsync();
        reading.Wait();
        Task<string> second = pool.GetFingerprintAsync(2);
        go.Set();
        Assert.That(await Task.WhenAll(first, second).WaitAsync(Wait.Limit), Is.EqualTo(new[] { "f1", "f2" }));
        Assert.That(await pool.GetFingerprintAsync(2).WaitAsync(Wait.Limit), Is.EqualTo("f2"));
        Assert.That(threads.Asked - before, Is.EqualTo(1));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Callers_share_one_fingerprint_thread_and_texts_are_embedded_meanwhile()
    {
        using var go = new ManualResetEventSlim();
        int reads = 0;
        var threads = new FakeThreads();
        var model = new FakeModel
        {
            OnFingerprint = () =>
            {
                Interlocked.Increment(ref reads);
                go.Wait();
                return "f";
            },
        };
        StellaEmbeddingPool pool = PoolOf.Fake(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Wait.Limit);
        int before = threads.Asked;
        Task<string>[] asked = [.. Enumerable.Range(0, 5).Select(_ => pool.GetFingerprintAsync())];
        Assert.That(await pool.EmbedAsync("a").WaitAsync(Wait.Limit), Is.EqualTo(FakeModel.Vector("a")));
        Assert.That(asked.Any(one => one.IsCompleted), Is.False);
        go.Set();
        Assert.That(await Task.WhenAll(asked).WaitAsync(Wait.Limit), Is.All.EqualTo("f"));
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Is.EqualTo("f"));
        Assert.That((reads, threads.Asked - before), Is.EqualTo((1, 1)), "one read on one thread, and kept");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_cancelled_caller_is_answered_and_the_other_callers_keep_waiting()
    {
        using var go = new ManualResetEventSlim();
        using var source = new CancellationTokenSource();
        var model = new FakeModel { OnFingerprint = () => { go.Wait(); return "f"; } };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<string> cancelled = pool.GetFingerprintAsync(cancellationToken: source.Token);
        Task<string> other = pool.GetFingerprintAsync();
        await source.CancelAsync();
        Assert.That(async () => await cancelled.WaitAsync(Wait.Limit), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(other.IsCompleted, Is.False);
        go.Set();
        Assert.That(await other.WaitAsync(Wait.Limit), Is.EqualTo("f"));
        Assert.That(async () => await pool.GetFingerprintAsync(cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_fingerprint_error_is_not_cached()
    {
        var error = new StellaModelFolderException(StellaErrorCode.ModelFileInvalid, "made by a test");
        var model = new FakeModel { OnFingerprint = () => throw error };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Throws.Exception.SameAs(error));
        model.OnFingerprint = () => "f";
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Is.EqualTo("f"));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_refused_fingerprint_thread_is_a_typed_error_and_the_next_caller_gets_the_fingerprint()
    {
        var model = new FakeModel();
        var threads = new FakeThreads();
        StellaEmbeddingPool pool = PoolOf.Fake(model, threads.Options);
        _ = await pool.WarmUpAsync().WaitAsync(Wait.Limit);
        int next = threads.Asked + 1;
        threads.Refuses = n => n == next;
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Throws.TypeOf<StellaThreadException>());
        Assert.That(await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Is.EqualTo("fake"));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_failed_load_is_the_error_of_the_fingerprint()
    {
        var error = new StellaModelFolderException(StellaErrorCode.ModelFileMissing, "made by a test");
        var model = new FakeModel { OnLoad = () => throw error };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Throws.Exception.SameAs(error));
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_model_is_not_unloaded_while_its_fingerprint_is_read()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        var clock = new FakeTimeProvider();
        StellaPoolOptions options = PoolOf.Options with { MinWorkers = 0, TimeProvider = clock };
        StellaEmbeddingPool pool = PoolOf.Fake(model, options);
        Task<string> asked = pool.GetFingerprintAsync();
        Wait.Until(blocked.Reading);
        clock.Advance(options.IdleTimeout * 2);
        Assert.That((model.Models, asked.IsCompleted), Is.EqualTo((1, false)));
        blocked.Go.Set();
        Assert.That(await asked.WaitAsync(Wait.Limit), Is.EqualTo("f"));
        clock.Advance(options.IdleTimeout * 2);
        Assert.That(model.Models, Is.Zero, "the idle model is unloaded");
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_answers_fingerprint_callers_at_once_and_waits_for_the_read()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<string> asked = pool.GetFingerprintAsync();
        Wait.Until(blocked.Reading);
        Task disposed = Task.Run(pool.Dispose);
        Assert.That(async () => await asked.WaitAsync(Wait.Limit), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(disposed.IsCompleted, Is.False);
        blocked.Go.Set();
        await disposed.WaitAsync(Wait.Limit);
        Assert.That(async () => await pool.GetFingerprintAsync(), Throws.TypeOf<ObjectDisposedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_during_a_load_answers_the_fingerprint_callers()
    {
        using var go = new ManualResetEventSlim();
        using var loads = new ManualResetEventSlim();
        var model = new FakeModel { OnLoad = () => { loads.Set(); go.Wait(); } };
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<string> asked = pool.GetFingerprintAsync();
        Assert.That(loads.Wait(Wait.Limit));
        Task disposed = Task.Run(pool.Dispose);
        Assert.That(async () => await asked.WaitAsync(Wait.Limit), Throws.TypeOf<StellaPoolClosedException>());
        go.Set();
        await disposed.WaitAsync(Wait.Limit);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task A_drain_waits_for_the_fingerprint()
    {
        using var blocked = new BlockedRead();
        FakeModel model = blocked.Model;
        StellaEmbeddingPool pool = PoolOf.Fake(model);
        Task<string> asked = pool.GetFingerprintAsync();
        Wait.Until(blocked.Reading);
        Task drained = pool.DrainAsync(TimeSpan.FromMinutes(5));
        Assert.That(async () => await pool.GetFingerprintAsync(), Throws.TypeOf<StellaPoolClosedException>());
        Assert.That(drained.IsCompleted, Is.False);
        blocked.Go.Set();
        Assert.That(await asked.WaitAsync(Wait.Limit), Is.EqualTo("f"));
        await drained.WaitAsync(Wait.Limit);
        await PoolOf.AllIsBackAsync(pool, model);
    }

    [Test]
    public async Task Dispose_on_the_fingerprint_thread_does_not_deadlock()
    {
        StellaEmbeddingPool? pool = null;
        var model = new FakeModel { OnFingerprint = () => { pool!.Dispose(); return "f"; } };
        pool = PoolOf.Fake(model);
        Assert.That(async () => await pool.GetFingerprintAsync().WaitAsync(Wait.Limit), Throws.TypeOf<StellaPoolClosedException>());
        await PoolOf.AllIsBackAsync(pool, model);
    }

    /// <summary>A model whose fingerprint is read until the test lets it end.</summary>
    private sealed class BlockedRead : IDisposable
    {
        public BlockedRead() => Model = new FakeModel
        {
            OnFingerprint = () =>
            {
                Reading.Set();
                Go.Wait();
                return "f";
            },
        };

        public FakeModel Model { get; }

        public ManualResetEventSlim Reading { get; } = new();

        public ManualResetEventSlim Go { get; } = new();

        public void Dispose()
        {
            Reading.Dispose();
            Go.Dispose();
        }
    }
}
