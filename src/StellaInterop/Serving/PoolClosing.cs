using System.Collections.Concurrent;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Closes a pool: refuses new calls, waits for the answers of the others, then frees everything.</summary>
internal sealed class PoolClosing(
    OpenCalls calls, PoolClock clock, ModelHost host, PoolTimer maintenance, PoolTelemetry telemetry)
{
    private readonly Signal noMoreTime = new();
    private readonly RankedLock gate = new(LockRank.Closing);

    /// <summary>The running close. Its result is the number of workers that did not end in time, null if no model was loaded.</summary>
    private Signal<int?>? closed;
    private readonly ConcurrentQueue<Exception> failedSteps = [];
    private int isCloseReported;

    /// <summary>Closes the pool, and gives the calls the time of the first drain.</summary>
    public Task DrainAsync(TimeSpan timeout)
    {
        return ReportWhenClosedAsync(Close(timeout));

        async Task ReportWhenClosedAsync(Task<int?> end) => ReportClosed(await end.ConfigureAwait(false));
    }

    /// <summary>Gives the calls some time, even if a running drain has more, and frees everything.</summary>
    public async ValueTask DisposeAsync(TimeSpan timeout)
    {
        calls.MarkDisposed();
        bool isOwnThread = host.ExcuseCurrentThread();
        Task<int?> end = Close(timeout);
        await StepAsync(() => clock.WaitAsync(end, timeout)).ConfigureAwait(false);
        noMoreTime.Set();
        Free(await Close(TimeSpan.Zero).ConfigureAwait(false), isOwnThread);
    }

    /// <summary>Ends the calls at once, and frees everything.</summary>
    public void Dispose()
    {
        calls.MarkDisposed();
        bool isOwnThread = host.ExcuseCurrentThread();
        noMoreTime.Set();
        Free(Close(TimeSpan.Zero).GetAwaiter().GetResult(), isOwnThread);
    }

    /// <summary>Frees what is left after the close.</summary>
    /// <param name="stuck">The number of workers that did not end in time, if a model was loaded.</param>
    /// <param name="isOwnThread">Whether a thread of the pool waits for this.</param>
    private void Free(int? stuck, bool isOwnThread)
    {
        if (!isOwnThread)
        {
            host.WaitForExcused();
        }

        ReportClosed(stuck);
        maintenance.Dispose();
        host.Dispose();
        telemetry.Dispose();
    }

    /// <summary>Begins to close the pool, or joins the running close. The task never fails.</summary>
    /// <returns>The number of workers that did not end in time; <see langword="null"/> if no model was loaded.</returns>
    private Task<int?> Close(TimeSpan timeout)
    {
        bool isFirst = false;
        Task<int?> end;
        using (gate.Enter())
        {
            if (closed is null)
            {
                isFirst = true;
                closed = new Signal<int?>();
                // The pool accepts no call any more when this method returns.
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

    /// <summary>Runs every step, even if an earlier one failed.</summary>
    private async Task CloseAsync(TimeSpan timeout, Signal<int?> ended)
    {
        // The caller may hold a lock that the code behind an answer needs.
        await new ThreadPoolSwitch();
        Task drained = calls.DrainedAsync();
        int? stuck = null;
        Task inTime = drained;
        await StepAsync(() =>
        {
            inTime = clock.WaitAsync(drained, timeout);
            return Task.WhenAny(inTime, noMoreTime.WaitAsync());
        }).ConfigureAwait(false);
        if (!drained.IsCompleted)
        {
            var end = new StellaPoolClosedException(
                $"The pool of {telemetry.ModelName} was closed before the call was answered.");
            foreach (PoolCall call in calls.Snapshot())
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

    /// <summary>Runs a step of the close. Its error is kept, and logged at the end.</summary>
    private async Task StepAsync(Func<Task> step)
    {
        try
        {
            await step().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // The other steps have to run in any case.
        catch (Exception e)
#pragma warning restore CA1031
        {
            failedSteps.Enqueue(e);
        }
    }

    /// <summary>Logs the end once, on the path of a caller that waits for it: a logger may dispose the pool again.</summary>
    private void ReportClosed(int? stuck)
    {
        if (Interlocked.Exchange(ref isCloseReported, 1) == 0)
        {
            foreach (Exception error in failedSteps)
            {
                telemetry.StepFailed(error);
            }

            if (stuck is { } workers)
            {
                host.ReportUnloaded(workers);
            }

            telemetry.Closed();
        }
    }
}
