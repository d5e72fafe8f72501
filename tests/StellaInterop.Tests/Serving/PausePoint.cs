namespace StellaInterop.Tests.Serving;

/// <summary>Blocks the threads that enter it, such as forward passes and loads, until the test releases them.</summary>
internal sealed class PausePoint : IDisposable
{
    private readonly ManualResetEventSlim released = new();
    private readonly SemaphoreSlim entered = new(0);

    /// <summary>Reports a thread to <see cref="EnteredAsync"/> and blocks it until the release.</summary>
    public void Enter()
    {
        entered.Release();
        Eventually.IsSet(released);
    }

    /// <summary>Blocks a forward pass until the release or its cancellation. Native code polls the same flag at each layer.</summary>
    public void Enter(FakeBatch batch)
    {
        entered.Release();
        while (!released.Wait(1))
        {
            if (batch.IsCancelled)
            {
                throw new OperationCanceledException("The forward pass was cancelled.");
            }
        }
    }

    /// <summary>Waits for the next thread that enters.</summary>
    public async Task EnteredAsync() => Assert.That(await entered.WaitAsync(Eventually.Timeout), "no thread entered the pause point");

    public void Release() => released.Set();

    public void Dispose()
    {
        released.Set();
        released.Dispose();
        entered.Dispose();
    }
}
