namespace StellaInterop.Server.Embedding;

/// <summary>Calls of a pool for an answer that has begun or must not be refused any more.</summary>
internal static class PoolCalls
{
    /// <summary>Repeats a call until the pool does not refuse it: an answer that has begun must not end halfway.</summary>
    public static async Task<T> WaitForRoomAsync<T>(Func<Task<T>> call, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (StellaOverloadedException e)
            {
                await Task.Delay(e.RetryAfter ?? TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            }
        }
    }
}
