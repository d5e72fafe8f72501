using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>How a call ended. The names are those of the metric.</summary>
internal enum CallOutcome
{
    Completed,
    Failed,
    Cancelled,
    TimedOut,
    Rejected,
}

/// <summary>
/// One call on a pool, from its arrival to its one answer. A call holds leases of the pool: its place among the open calls, probes of the
/// breaker, reserved tokens, the model, its workers, the queue. All of them are disposed before the answer is given.
/// </summary>
/// <remarks>
/// Results are written under the call's lock, and only until the call is answered. A deadline may answer it in the middle of a forward pass,
/// and from then on the memory is the caller's again.
/// </remarks>
/// <param name="texts">The texts: an array that the caller cannot change.</param>
/// <param name="embedOptions">The options of the texts.</param>
/// <param name="options">The options of the call.</param>
/// <param name="timeout">The time after which the call is answered without vectors; <see langword="null"/> for no limit.</param>
/// <param name="buffers">The memory for the results.</param>
internal sealed class PoolCall(
    string[] texts, StellaEmbedOptions embedOptions, StellaCallOptions options, TimeSpan? timeout, CallBuffers buffers)
{
    private readonly RankedLock gate = new(LockRank.Call);
    private readonly Signal<CallAnswer> completion = new();
    private readonly List<IDisposable> leases = [];

    private List<StellaTextFailure>? failures;
    private int remaining = texts.Length;
    private long tokens;
    private int truncated;
    private TimeSpan tokenizationTime;
    private bool answered;

    public string[] Texts { get; } = texts;

    public StellaEmbedOptions EmbedOptions { get; } = embedOptions;

    public StellaCallOptions Options { get; } = options;

    public StellaPriority Priority => Options.Priority ?? StellaPriority.Interactive;

    public TimeSpan? Timeout { get; } = timeout;

    public CallBuffers Buffers { get; } = buffers;

    /// <summary>The time of arrival, by the pool's clock.</summary>
    public long ArrivedAt { get; init; }

    /// <summary>The form of the vectors, from <see cref="Open"/> on.</summary>
    public VectorKind Kind { get; private set; }

    /// <summary>The files of the model that computes the call, from <see cref="Open"/> on.</summary>
    public ulong FileStamp { get; private set; }

    /// <summary>The state of this call in the queue, which only the scheduler changes.</summary>
    public QueueEntry Entry { get; } = new();

    public bool IsAnswered
    {
        get
        {
            using (gate.Enter())
            {
                return answered;
            }
        }
    }

    /// <summary>Waits for the answer. The task never fails: an error is part of the answer.</summary>
    public Task<CallAnswer> AnswerAsync() => completion.WaitAsync();

    /// <summary>Keeps a lease until the call is answered. Leases are disposed in the reverse order, on whichever thread answers.</summary>
    /// <param name="lease">The lease. Disposing it must not fail and must not run code of the caller.</param>
    /// <returns>Whether the call keeps it. A call that has its answer disposes the lease at once.</returns>
    public bool Hold(IDisposable lease)
    {
        using (gate.Enter())
        {
            if (!answered)
            {
                leases.Add(lease);
                return true;
            }
        }

        lease.Dispose();
        return false;
    }

    /// <summary>Fixes the form of the vectors when the model is known, and allocates memory for them.</summary>
    /// <exception cref="ArgumentException">The caller's memory is too short.</exception>
    public void Open(VectorKind kind, ulong fileStamp)
    {
        Kind = kind;
        FileStamp = fileStamp;
        Buffers.Open(Texts.Length, kind.RowLength);
    }

    /// <summary>Adds the time in which some of the texts were tokenized.</summary>
    public void AddTokenizationTime(TimeSpan elapsed)
    {
        using (gate.Enter())
        {
            tokenizationTime += elapsed;
        }
    }

    /// <summary>Stores the length of a text.</summary>
    public void Count(int index, StellaTokenCount count)
    {
        using (gate.Enter())
        {
            if (answered)
            {
                return;
            }

            tokens += count.Kept;
            truncated += count.IsTruncated ? 1 : 0;
            Buffers.SetCount(index, count);
        }
    }

    /// <summary>Stores the vector of a text. The last one answers the call.</summary>
    public void Deliver(int index, ReadOnlySpan<float> row)
    {
        using (gate.Enter())
        {
            if (answered)
            {
                return;
            }

            row.CopyTo(Buffers.Row(index));
            if (!IsLast())
            {
                return;
            }
        }

        Complete(CallOutcome.Completed, null);
    }

    /// <summary>Stores the error of a text, or fails the call by it, as <see cref="StellaCallOptions.TextFailureMode"/> says.</summary>
    public void FailText(int index, StellaException error)
    {
        bool failsCall = Options.TextFailureMode == StellaTextFailureMode.FailCall;
        using (gate.Enter())
        {
            if (answered)
            {
                return;
            }

            if (failsCall)
            {
                answered = true;
            }
            else
            {
                Buffers.Row(index).Clear();
                (failures ??= []).Add(new StellaTextFailure { TextIndex = index, Error = error });
                if (!IsLast())
                {
                    return;
                }
            }
        }

        Complete(failsCall ? CallOutcome.Failed : CallOutcome.Completed, failsCall ? error : null);
    }

    /// <summary>Answers a call that has no texts.</summary>
    public void CompleteEmpty() => End(CallOutcome.Completed, null);

    /// <summary>Answers the call without its vectors, unless it has its answer.</summary>
    public void End(CallOutcome outcome, Exception? error)
    {
        using (gate.Enter())
        {
            if (answered)
            {
                return;
            }

            answered = true;
        }

        Complete(outcome, error);
    }

    /// <summary>Answers the call by an error: one of its own, or one of a pool that cannot serve it now.</summary>
    public void EndBy(Exception error) => End(
        error is StellaPoolException or StellaMemoryException or StellaThreadException ? CallOutcome.Rejected : CallOutcome.Failed, error);

    /// <summary>Answers the call because its time is over.</summary>
    public void TimeOut()
    {
        int done = Texts.Length - Volatile.Read(ref remaining);
        End(CallOutcome.TimedOut, new StellaTimeoutException(Timeout.GetValueOrDefault(), done, Texts.Length));
    }

    /// <summary>Makes the summary of a call that is answered with vectors.</summary>
    public StellaCallSummary Summarize(TimeSpan queueTime) => new()
    {
        TextCount = Texts.Length,
        TokenCount = tokens,
        TruncatedTextCount = truncated,
        Failures = failures is null ? [] : [.. failures.OrderBy(failure => failure.TextIndex)],
        QueueTime = queueTime,
        TokenizationTime = tokenizationTime,
    };

    private bool IsLast()
    {
        remaining--;
        answered = remaining == 0;
        return answered;
    }

    /// <summary>Disposes the leases, then gives the answer. No lease is added meanwhile, because the call counts as answered.</summary>
    private void Complete(CallOutcome outcome, Exception? error)
    {
        Exception? failedRelease = null;
        for (int i = leases.Count - 1; i >= 0; i--)
        {
            try
            {
                leases[i].Dispose();
            }
#pragma warning disable CA1031 // The error must not reach this thread (a worker, a timer or the canceller) nor keep the other leases.
            catch (Exception e)
#pragma warning restore CA1031
            {
                failedRelease = e;
            }
        }

        completion.Set(new CallAnswer(outcome, error, failedRelease));
    }
}

/// <summary>The answer of a call.</summary>
/// <param name="Outcome">How the call ended.</param>
/// <param name="Error">The error, unless the call has its vectors.</param>
/// <param name="FailedRelease">The error of a lease that could not be disposed, to be logged.</param>
internal readonly record struct CallAnswer(CallOutcome Outcome, Exception? Error, Exception? FailedRelease);
