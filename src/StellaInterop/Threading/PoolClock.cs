namespace StellaInterop.Threading;

/// <summary>The clock of a pool: the host's <see cref="TimeProvider"/> without its failures. Thread-safe.</summary>
/// <remarks>
/// The provider is foreign code that may throw, block or call back into the pool. So no lock may be held while it is read. If it throws,
/// the last successful reading is used.
/// </remarks>
internal sealed class PoolClock
{
    private readonly TimeProvider provider;
    private readonly double ticksPerUnit;
    private long last;

    /// <summary>Reads the provider's frequency once. Errors of the provider reach the code that creates the pool.</summary>
    /// <param name="provider">The clock that the host chose.</param>
    public PoolClock(TimeProvider provider)
    {
        this.provider = provider;
        ticksPerUnit = TimeSpan.TicksPerSecond / (double)provider.TimestampFrequency;
        last = provider.GetTimestamp();
    }

    /// <summary>Gets the present timestamp. Never throws.</summary>
    public long Now
    {
        get
        {
            try
            {
                long now = provider.GetTimestamp();
                Volatile.Write(ref last, now);
                return now;
            }
#pragma warning disable CA1031 // A clock that fails must not end a worker.
            catch
#pragma warning restore CA1031
            {
                return LastRead;
            }
        }
    }

    /// <summary>Gets the last timestamp that was read, for code that may not call the host's provider.</summary>
    public long LastRead => Volatile.Read(ref last);

    /// <summary>Returns the time between two timestamps.</summary>
    public TimeSpan Between(long begin, long end) => TimeSpan.FromTicks((long)((end - begin) * ticksPerUnit));

    /// <summary>Returns the time since a timestamp.</summary>
    public TimeSpan Since(long begin) => Between(begin, Now);

    /// <summary>
    /// Creates a timer that does not capture the execution context of the caller. Errors of the provider reach the caller.
    /// </summary>
    public PoolTimer CreateTimer(TimerCallback callback, object state, TimeSpan dueTime, TimeSpan period)
    {
        using (NoFlow.Begin())
        {
            return new PoolTimer(provider.CreateTimer(callback, state, dueTime, period));
        }
    }

    /// <summary>
    /// Waits for a task, but at most for the timeout. Errors of the provider reach the caller; errors of the task do not.
    /// </summary>
    public async Task WaitAsync(Task task, TimeSpan timeout)
    {
        if (timeout == TimeSpan.Zero)
        {
            return;
        }

        var over = new Signal();
        using PoolTimer timer = CreateTimer(static over => ((Signal)over!).Set(), over, timeout, Timeout.InfiniteTimeSpan);
        _ = await Task.WhenAny(task, over.WaitAsync()).ConfigureAwait(false);
    }
}

/// <summary>A timer of the pool's clock. Failures of the host's timer are ignored.</summary>
internal sealed class PoolTimer(ITimer timer) : IDisposable
{
    /// <summary>Sets the timer to fire once. If the host's timer throws, it never fires.</summary>
    public void Fire(TimeSpan dueTime) => ForeignCode.Run(() => timer.Change(dueTime, Timeout.InfiniteTimeSpan));

    /// <summary>Stops the timer without waiting for a running callback.</summary>
    public void Dispose() => ForeignCode.Run(timer.Dispose);
}

/// <summary>
/// Suppresses the flow of the execution context (activity, log scopes, principal) into timers and tasks that outlive a request.
/// </summary>
internal static class NoFlow
{
    public static AsyncFlowControl? Begin() => ExecutionContext.IsFlowSuppressed() ? null : ExecutionContext.SuppressFlow();
}
