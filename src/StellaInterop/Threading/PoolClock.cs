namespace StellaInterop.Threading;

/// <summary>The clock of a pool: the host's <see cref="TimeProvider"/> behind a guard. Thread-safe.</summary>
/// <remarks>
/// The provider is foreign code that may throw, block or call back into the pool. So no lock is held while it is read, and a
/// reading that throws is replaced by the last one that did not.
/// </remarks>
internal sealed class PoolClock
{
    private readonly TimeProvider provider;
    private readonly double ticksPerUnit;
    private long last;

    /// <summary>Reads the provider's frequency once. Errors of the provider reach whoever makes the pool.</summary>
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

    /// <summary>Gets the last timestamp that was read, for code that may not run the host's.</summary>
    public long LastRead => Volatile.Read(ref last);

    /// <summary>Returns the time between two timestamps.</summary>
    public TimeSpan Between(long begin, long end) => TimeSpan.FromTicks((long)((end - begin) * ticksPerUnit));

    /// <summary>Returns the time since a timestamp.</summary>
    public TimeSpan Since(long begin) => Between(begin, Now);

    /// <summary>Makes a timer that does not keep the execution context of the caller. Errors of the provider reach the caller.</summary>
    public PoolTimer CreateTimer(TimerCallback callback, object state, TimeSpan dueTime, TimeSpan period)
    {
        using (NoFlow.Begin())
        {
            return new PoolTimer(provider.CreateTimer(callback, state, dueTime, period));
        }
    }

    /// <summary>Waits for a task, at most for a time. Errors of the provider reach the caller, those of the task do not.</summary>
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

/// <summary>A timer of the pool's clock, whose failures are nobody's.</summary>
internal sealed class PoolTimer(ITimer timer) : IDisposable
{
    /// <summary>Lets the timer fire once. A timer that cannot be set never fires.</summary>
    public void Fire(TimeSpan dueTime) => ForeignCode.Run(() => timer.Change(dueTime, Timeout.InfiniteTimeSpan));

    /// <summary>Stops the timer without waiting for what it runs.</summary>
    public void Dispose() => ForeignCode.Run(timer.Dispose);
}

/// <summary>
/// Keeps the execution context of a request (its activity, log scopes, principal) out of timers and tasks that outlive it.
/// </summary>
internal static class NoFlow
{
    public static AsyncFlowControl? Begin() => ExecutionContext.IsFlowSuppressed() ? null : ExecutionContext.SuppressFlow();
}
