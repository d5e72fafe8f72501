namespace StellaInterop.Pooling;

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
/// One call on a pool, from its arrival to its one answer. Its buffers are the caller's, so they are written to under the
/// call's lock and only until it is answered: a worker may be in the middle of a forward for it then.
/// </summary>
internal sealed class PoolCall(
    ReadOnlyMemory<string> texts, StellaEmbedOptions embedOptions, StellaCallOptions options, TimeSpan? timeout)
{
    private readonly Lock gate = new();
    private readonly TaskCompletionSource<StellaCallSummary> completion =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Memory<float> destination;
    private Memory<StellaTokenCount> counts;
    private List<StellaTextFailure>? failures;
    private int remaining = texts.Length;
    private long tokens;
    private int truncated;
    private bool answered;

    public ReadOnlyMemory<string> Texts { get; } = texts;

    public StellaEmbedOptions EmbedOptions { get; } = embedOptions;

    public StellaCallOptions Options { get; } = options;

    public TimeSpan? Timeout { get; } = timeout;

    /// <summary>When it arrived, by the pool's clock.</summary>
    public long ArrivedAt { get; init; }

    /// <summary>Told once, before the caller is: how it ended and by which error.</summary>
    public required Action<PoolCall, CallOutcome, Exception?> Ended { get; init; }

    /// <summary>What its vectors are to be; set with <see cref="Open"/>.</summary>
    public VectorKind Kind { get; private set; }

    public Task<StellaCallSummary> Task => completion.Task;

    public bool IsAnswered
    {
        get
        {
            lock (gate)
            {
                return answered;
            }
        }
    }

    /// <summary>The scheduler's notes on this call.</summary>
    public QueuePlace Place { get; } = new();

    /// <summary>Whether it is counted among the pool's calls.</summary>
    public bool IsCounted { get; set; }

    /// <summary>Whether the circuit breaker let it through as a probe.</summary>
    public bool IsProbe { get; set; }

    /// <summary>Whether it holds the model, so that nobody unloads it.</summary>
    public bool HoldsModel { get; private set; }

    /// <summary>Notes that it holds the model from now on. <see langword="false"/> when it is too late: it has its answer.</summary>
    public bool TryHoldModel()
    {
        lock (gate)
        {
            return HoldsModel = !answered;
        }
    }

    /// <summary>Tells where the vectors go.</summary>
    public void Open(VectorKind kind, Memory<float> vectors, Memory<StellaTokenCount> tokenCounts)
    {
        Kind = kind;
        destination = vectors;
        counts = tokenCounts;
    }

    /// <summary>Notes the length of a text.</summary>
    public void Count(int index, StellaTokenCount count)
    {
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            tokens += count.Kept;
            truncated += count.IsTruncated ? 1 : 0;
            if (!counts.IsEmpty)
            {
                counts.Span[index] = count;
            }
        }
    }

    /// <summary>Takes the vector of a text.</summary>
    public void Deliver(int index, ReadOnlySpan<float> row)
    {
        Exception? lost = null;
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            try
            {
                row.CopyTo(Row(index));
            }
#pragma warning disable CA1031 // The caller's memory may be of any kind. What it throws is the caller's, and not the worker's end.
            catch (Exception e)
#pragma warning restore CA1031
            {
                lost = e;
                answered = true;
            }

            if (lost is null && !IsLast())
            {
                return;
            }
        }

        Answer(lost is null ? CallOutcome.Completed : CallOutcome.Failed, lost);
    }

    /// <summary>Takes the error of a text.</summary>
    public void FailText(int index, StellaException error)
    {
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            if (Options.OnFailedText == StellaOnFailedText.FailCall)
            {
                answered = true;
            }
            else
            {
                Row(index).Clear();
                (failures ??= []).Add(new StellaTextFailure(index, error));
                if (!IsLast())
                {
                    return;
                }
            }
        }

        Answer(
            Options.OnFailedText == StellaOnFailedText.FailCall ? CallOutcome.Failed : CallOutcome.Completed,
            Options.OnFailedText == StellaOnFailedText.FailCall ? error : null);
    }

    /// <summary>Ends a call that has no texts.</summary>
    public void CompleteEmpty()
    {
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            answered = true;
        }

        Answer(CallOutcome.Completed, null);
    }

    /// <summary>Ends the call without its vectors, unless it has its answer.</summary>
    public void End(CallOutcome outcome, Exception error)
    {
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            answered = true;
        }

        Answer(outcome, error);
    }

    /// <summary>Ends the call because its time is over.</summary>
    public void TimeOut()
    {
        int done = Texts.Length - Volatile.Read(ref remaining);
        End(CallOutcome.TimedOut, new StellaTimeoutException(Timeout.GetValueOrDefault(), done, Texts.Length));
    }

    private Span<float> Row(int index) => destination.Span.Slice(index * Kind.Dimension, Kind.Dimension);

    private bool IsLast()
    {
        remaining--;
        answered = remaining == 0;
        return answered;
    }

    private void Answer(CallOutcome outcome, Exception? error)
    {
        Ended(this, outcome, error);
        if (error is null)
        {
            completion.SetResult(new StellaCallSummary
            {
                Texts = Texts.Length,
                Tokens = tokens,
                TruncatedTexts = truncated,
                Failures = failures is null ? [] : [.. failures.OrderBy(failure => failure.TextIndex)],
                QueueTime = Place.QueueTime ?? TimeSpan.Zero,
            });
        }
        else if (error is OperationCanceledException cancelled)
        {
            completion.SetCanceled(cancelled.CancellationToken);
        }
        else
        {
            completion.SetException(error);
        }
    }
}

/// <summary>What the scheduler knows of a call. Only it touches this, under its lock.</summary>
internal sealed class QueuePlace
{
    /// <summary>Its texts that wait, in order, and some that have been started for another call meanwhile.</summary>
    public Queue<TextItem> Waiting { get; } = new();

    /// <summary>Its texts that are in batches.</summary>
    public HashSet<TextItem> Running { get; } = [];

    /// <summary>Tokens of its texts that wait.</summary>
    public long QueuedTokens { get; set; }

    /// <summary>Tokens that it takes of the queue's limit.</summary>
    public long Charge { get; set; }

    /// <summary>Whether more of its texts will come.</summary>
    public bool IsFeeding { get; set; }

    /// <summary>Whether it counts as accepted.</summary>
    public bool IsAdmitted { get; set; }

    /// <summary>Its place among those who take turns; <see langword="null"/> while nothing of it waits.</summary>
    public LinkedListNode<PoolCall>? Turn { get; set; }

    /// <summary>Tokens that are left of its turn; below zero when it took more.</summary>
    public long Credit { get; set; }

    /// <summary>Ends when there is room for more of its texts.</summary>
    public TaskCompletionSource? Room { get; set; }

    /// <summary>Time until the first of its texts was started.</summary>
    public TimeSpan? QueueTime { get; set; }
}
