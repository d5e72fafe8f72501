namespace StellaInterop.Tests.Serving;

/// <summary>Creates pools over the fake model, and checks that they return everything.</summary>
internal static class TestPool
{
    /// <summary>The token limit of a text of the fake model.</summary>
    public const int MaxTokens = 100;

    /// <summary>One worker, batches of 100 tokens, and a memory budget that is never exceeded, whatever memory the machine has.</summary>
    public static StellaPoolOptions Options => new()
    {
        Model = new StellaModelOptions { MaxTokens = MaxTokens, Threads = 1 },
        MaxBatchTokens = 100,
        MaxWorkers = 1,
        Governor = new StellaMemoryGovernor(new StellaMemoryGovernorOptions { LimitBytes = long.MaxValue }),
    };

    public static StellaEmbeddingPool Create(FakeModel model, StellaPoolOptions? options = null) => new(model, options ?? Options);

    /// <summary>Disposes the pool, and checks that all models, sessions, workers and queue entries are gone and no contract was violated.</summary>
    public static async Task DisposeAndCheckAsync(StellaEmbeddingPool pool, FakeModel model)
    {
        await pool.DisposeAsync();
        StellaPoolHealth health = pool.GetHealth();
        Assert.Multiple(() =>
        {
            Assert.That(model.Violation, Is.Null);
            Assert.That((model.Models, model.Sessions), Is.EqualTo((0, 0)), "models and sessions that were not disposed");
            Assert.That((health.QueuedCallCount, health.QueuedTokenCount, health.QueueFill), Is.EqualTo((0, 0L, 0.0)));
            Assert.That(health.WorkerCount, Is.Zero);
        });
    }
}
