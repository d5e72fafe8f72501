using System.Collections.Concurrent;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The end of a pool: no new calls, answers for those it has, then everything is freed.</summary>
internal sealed class PoolClosing(
    CallCounter calls, PoolClock clock, Scheduler scheduler, ModelHost host, PoolTimer maintenance, PoolTelemetry telemetry)
{
    private readonly Signal hurry = new();
    private readonly Lock gate = new();

    /// <summary>The close that is going on; ends with the number of workers that did not end in time, if a model was loaded.</summary>
    private Signal<int?>? closed;
    private readonly ConcurrentQueue<Exception> failedSteps = [];
    private int isClosedTold;
    private volatile bool disposed;

    /// <summary>Whether the pool is disposed, rather than draining.</summary>
    public bool IsDisposed => disposed;

    /// <summary>Ends when the pool is closed. The calls have the time of the first drain.</summary>
    public Task DrainAsync(TimeSpan timeout)
    {
        return TellWhenClosedAsync(Close(timeout));

        async Task TellWhenClosedAsync(Task<int?> end) => TellClosed(await end.ConfigureAwait(false));
    }

    /// <summary>Gives the calls some time, also if a drain has more, and frees everything.</summary>
    public async ValueTask DisposeAsync(TimeSpan timeout)
    {
        disposed = true;
        bool isOwnThread = host.ExcuseCurrentThread();
        Task<int?> end = Close(timeout);
        await StepAsync(() => clock.WaitAsync(end, timeout)).ConfigureAwait(false);
        hurry.Set();
        Free(await Close(TimeSpan.Zero).ConfigureAwait(false), isOwnThread);
    }

    /// <summary>Gives the calls no time, and frees everything.</summary>
    public void Dispose()
    {
        disposed = true;
        bool isOwnThread = host.ExcuseCurrentThread();
        hurry.Set();
        Free(Close(TimeSpan.Zero).GetAwaiter().GetResult(), isOwnThread);
    }

    /// <summary>Gives back what is left after the close.</summary>
    /// <param name="stuck">The number of workers that did not end in time, if a model was loaded.</param>
    /// <param name="isOwnThread">Whether a thread of the pool waits for this.</param>
    private void Free(int? stuck, bool isOwnThread)
    {
        if (!isOwnThread)
        {
            host.WaitForExcused();
        }

        TellClosed(stuck);
        maintenance.Dispose();
        host.Dispose();
        telemetry.Dispose();
    }

    /// <summary>Begins to close the pool, or joins the close that is going on. It does not fail.</summary>
    /// <returns>Ends with the number of workers that did not end in time, if a model was loaded.</returns>
    private Task<int?> Close(TimeSpan timeout)
    {
        bool isFirst = false;
        Task<int?> end;
        lock (gate)
        {
            if (closed is null)
            {
                isFirst = true;
                closed = new Signal<int?>();
                // No call is taken any more when this returns.
                calls.Close();
                using (NoFlow.Begin())
                {
                    _ = CloseAsync(timeout, closed);
                }
            }

            end = closed.WaitAsync();
        }

        if (isFirst)
        {
            telemetry.Draining(calls.Count);
        }

        return end;
    }

    /// <summary>Every step runs whatever became of those before it.</summary>
    private async Task CloseAsync(TimeSpan timeout, Signal<int?> ended)
    {
        // The caller may hold locks that those who are answered want.
        await new ThreadPoolSwitch();
        Task drained = calls.DrainedAsync();
        int? stuck = null;
        Task inTime = drained;
        await StepAsync(() =>
        {
            inTime = clock.WaitAsync(drained, timeout);
            return Task.WhenAny(inTime, hurry.WaitAsync());
        }).ConfigureAwait(false);
        if (!drained.IsCompleted)
        {
            var end = new StellaPoolClosedException(
                $"The pool of {telemetry.ModelName} was closed before the call was answered.");
            foreach (PoolCall call in scheduler.Close())
            {
                call.End(CallOutcome.Cancelled, end);
            }

            host.Fingerprint.Close(end);

            await calls.DrainedAsync().ConfigureAwait(false);
        }

        await inTime.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        maintenance.Dispose();
        await StepAsync(async () => stuck = await host.CloseAsync().ConfigureAwait(false)).ConfigureAwait(false);
        ended.Set(stuck);
    }

    /// <summary>Runs a step of closing. Its error is kept, and logged when no step is left to wait for.</summary>
    private async Task StepAsync(Func<Task> step)
    {
        try
        {
            await step().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The other steps are due all the same.
        catch (Exception e)
#pragma warning restore CA1031
        {
            failedSteps.Enqueue(e);
        }
    }

    /// <summary>Logs the end once, on the path of a caller that waited for it: a logger may dispose the pool again.</summary>
    private void TellClosed(int? stuck)
    {
        if (Interlocked.Exchange(ref isClosedTold, 1) == 0)
        {
            foreach (Exception error in failedSteps)
            {
                telemetry.StepFailed(error);
            }

            if (stuck is { } workers)
            {
                host.TellUnloaded(workers);
            }

            telemetry.Closed();
        }
    }
}
