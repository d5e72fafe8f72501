using System.Diagnostics;
using System.Runtime.ExceptionServices;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>
/// Runs one call from its arrival to its answer. On the way the call takes leases of the pool: a place among the open calls, probes of the
/// breaker, reserved tokens, the model, its workers, the queue. Whichever thread answers the call disposes them all.
/// </summary>
/// <remarks>
/// Code of the caller (its clock, memory, loggers and listeners) may run in every step here, and never under a lock. Disposing a lease and
/// giving the answer run none of it: the code that waits for the answer continues on another thread.
/// </remarks>
internal sealed class CallRunner(PoolServices pool, ModelHost host, OpenCalls calls)
{
    private readonly CallTokenizer tokenizer = new(pool.Options, pool.Limits, pool.Cache, pool.Telemetry);

    /// <summary>Runs a call.</summary>
    /// <param name="call">The call.</param>
    /// <param name="cancellationToken">A token that answers the call at once.</param>
    public async Task<StellaCallSummary> RunAsync(PoolCall call, CancellationToken cancellationToken)
    {
        Activity? activity = pool.Telemetry.Begin(call.Texts.Length, call.Options);
        var outcome = CallOutcome.Failed;
        TimeSpan? queued = null;
        StellaCallSummary? summary = null;
        Exception? error = null;
        try
        {
            Enter(call);
            using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
                static (state, token) => ((PoolCall)state!).End(CallOutcome.Cancelled, new OperationCanceledException(token)), call);
            using PoolTimer? timer = call.Timeout is { } timeout
                ? pool.Clock.CreateTimer(static state => ((PoolCall)state!).TimeOut(), call, timeout, Timeout.InfiniteTimeSpan)
                : null;
            if (call.Texts.Length == 0)
            {
                call.CompleteEmpty();
            }
            else if (!call.IsAnswered)
            {
                _ = ProcessAsync(call);
            }

            (outcome, Exception? failure, Exception? failedRelease) = await call.AnswerAsync().ConfigureAwait(false);
            if (failedRelease is not null)
            {
                pool.Telemetry.ThreadFailed(failedRelease);
            }

            queued = call.Entry.StartedAt is { } started ? pool.Clock.Between(call.ArrivedAt, started) : null;
            if (failure is not null)
            {
                ExceptionDispatchInfo.Throw(failure);
            }

            call.Buffers.CopyOut();
            summary = call.Summarize(queued ?? TimeSpan.Zero);
            return summary;
        }
        catch (Exception e)
        {
            // A token, a clock or memory of the caller that throws: the call is open, so it has to end.
            call.End(CallOutcome.Failed, e);
            outcome = outcome == CallOutcome.Completed ? CallOutcome.Failed : outcome;
            error = e;
            throw;
        }
        finally
        {
            pool.Telemetry.Ended(activity, call, outcome, queued, summary, error);
        }
    }

    /// <summary>Opens the call, unless the pool is closed or the breaker refuses it. Then the refusal is the answer.</summary>
    private void Enter(PoolCall call)
    {
        try
        {
            _ = call.Hold(calls.Enter(call));
            if (pool.Breaker.Enter(call.EmbedOptions.HeadsOr(host.Info?.DefaultDimension ?? 0)) is { } probe)
            {
                _ = call.Hold(probe);
            }
        }
        catch (Exception e) when (e is StellaPoolException or ObjectDisposedException)
        {
            call.End(CallOutcome.Rejected, e);
        }
    }

    /// <summary>Takes the leases of a call one after the other, then queues its texts. An error is the answer of the call.</summary>
    private async Task ProcessAsync(PoolCall call)
    {
        try
        {
            AdmissionSlot slot = pool.Admission.Enter(call.Options, tokenizer.Estimate(call, host.Info));
            if (!call.Hold(slot))
            {
                return;
            }

            await slot.AdmittedAsync().ConfigureAwait(false);
            if (call.IsAnswered)
            {
                // Answered while it waited: no caller needs the model.
                return;
            }

            ModelUse use = host.Use();
            if (!call.Hold(use) || await use.LoadedAsync().ConfigureAwait(false) is not { } loaded)
            {
                // Answered during the load, which may hang.
                return;
            }

            if (!call.Hold(loaded.Workers.Join(call)))
            {
                return;
            }

            StellaModelInfo info = loaded.Model.Info;
            call.Open(new VectorKind(info.HeadsOf(call.EmbedOptions), call.EmbedOptions.Normalize), info.FileStamp);
            if (call.Hold(pool.Scheduler.Open(call, slot)))
            {
                await QueueTextsAsync(call, loaded).ConfigureAwait(false);
            }
        }
#pragma warning disable CA1031 // Any error is the caller's answer.
        catch (Exception e)
#pragma warning restore CA1031
        {
            call.EndBy(e);
        }
    }

    /// <summary>Tokenizes and queues the texts of a call, part by part, as the queue has room for them.</summary>
    private async Task QueueTextsAsync(PoolCall call, LoadedModel loaded)
    {
        for (int next = 0; next < call.Texts.Length;)
        {
            (QueuedText[] texts, next) = await tokenizer.NextPartAsync(call, loaded.Model, next).ConfigureAwait(false);
            int begin = 0;
            do
            {
                // The estimate may have been too low: a part is cut again by the tokens that its texts really have.
                int end = EndOfBatch(texts, begin);
                PartOrder order = next == call.Texts.Length && end == texts.Length ? PartOrder.Last : PartOrder.MoreFollow;
                await pool.Scheduler.EnqueueAsync(call, texts.AsMemory(begin..end), order).ConfigureAwait(false);
                loaded.Workers.Grow();
                if (call.IsAnswered)
                {
                    return;
                }

                begin = end;
            }
            while (begin < texts.Length);
        }
    }

    /// <summary>Returns the end of the longest run of texts from <paramref name="begin"/> on that is at most a batch, or one text.</summary>
    private int EndOfBatch(QueuedText[] texts, int begin)
    {
        int end = begin;
        for (long sum = 0; end < texts.Length; end++)
        {
            sum += texts[end].Tokens.Ids.Length;
            if (sum > pool.Limits.BatchTokens && end > begin)
            {
                break;
            }
        }

        return end;
    }
}
