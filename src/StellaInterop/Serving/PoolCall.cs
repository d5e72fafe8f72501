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
/// One call on a pool, from its arrival to its one answer. Its buffers are the caller's, so they are written to under the
/// call's lock and only until it is answered: a worker may be in the middle of a forward for it then.
/// </summary>
/// <param name="texts">The texts: an array that nobody changes.</param>
/// <param name="embedOptions">How the texts are embedded.</param>
/// <param name="options">How the call is treated.</param>
/// <param name="timeout">Time until it is answered without its vectors.</param>
internal sealed class PoolCall(
    string[] texts, StellaEmbedOptions embedOptions, StellaCallOptions options, TimeSpan? timeout)
{
    private readonly Lock gate = new();
    private readonly Signal<CallAnswer> completion = new();

    private CallerMemory<float> destination;
    private CallerMemory<StellaTokenCount> counts;
    private List<StellaTextFailure>? failures;
    private int remaining = texts.Length;
    private long tokens;
    private int truncated;
    private bool answered;

    public string[] Texts { get; } = texts;

    public StellaEmbedOptions EmbedOptions { get; } = embedOptions;

    public StellaCallOptions Options { get; } = options;

    public StellaPriority Priority => Options.Priority ?? StellaPriority.Interactive;

    public TimeSpan? Timeout { get; } = timeout;

    /// <summary>When it arrived, by the pool's clock.</summary>
    public long ArrivedAt { get; init; }

    /// <summary>Gives back what the call holds. Runs once, on whichever thread answers; no foreign code may run in it.</summary>
    public required Action<PoolCall> Ended { get; init; }

    /// <summary>What its vectors are to be; set with <see cref="Open"/>.</summary>
    public VectorKind Kind { get; private set; }

    /// <summary>The answer. It never fails: an error is part of it.</summary>
    public Task<CallAnswer> AnswerAsync() => completion.WaitAsync();

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
    public QueueEntry Place { get; } = new();

    /// <summary>Whether it is counted among the pool's calls.</summary>
    public bool IsCounted { get; set; }

    /// <summary>The right by which the circuit breaker let it through.</summary>
    public CircuitBreaker.BreakerPass Pass { get; set; }

    /// <summary>Its hold on the model, so that nobody unloads it; <see langword="null"/> before it has one.</summary>
    public ModelUse? Use { get; private set; }

    /// <summary>The model that computes it, once it is loaded.</summary>
    public LoadedModel? Model { get; private set; }

    /// <summary>Notes its hold on the model. <see langword="false"/> when it is too late: it has its answer.</summary>
    public bool TryHold(ModelUse use)
    {
        lock (gate)
        {
            Use = answered ? null : use;
            return Use is not null;
        }
    }

    /// <summary>Notes the model, whose workers compute all texts of the call.</summary>
    /// <exception cref="StellaException">The model lost its workers meanwhile.</exception>
    public void Bind(LoadedModel loaded)
    {
        lock (gate)
        {
            Model = loaded;
        }

        // After the model is noted: either this sees the loss, or the loss sees this call.
        if (loaded.Crew.LostTo is { } error)
        {
            throw error;
        }
    }

    /// <summary>Whether a model computes this call.</summary>
    public bool IsOn(WorkerGroup crew)
    {
        lock (gate)
        {
            return ReferenceEquals(Model?.Crew, crew);
        }
    }

    /// <summary>Tells where the vectors go.</summary>
    public void Open(VectorKind kind, Memory<float> vectors, Memory<StellaTokenCount> tokenCounts)
    {
        Kind = kind;
        destination = new CallerMemory<float>(vectors[..(Texts.Length * kind.Dimension)]);
        counts = new CallerMemory<StellaTokenCount>(tokenCounts.IsEmpty ? default : tokenCounts[..Texts.Length]);
    }

    /// <summary>The key under which a text of this call is shared with others.</summary>
    public TextKey KeyOf(string text) => new(text, EmbedOptions.Prompt, Kind, Model?.Model.Info.FileStamp ?? 0);

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
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            row.CopyTo(Row(index));
            if (!IsLast())
            {
                return;
            }
        }

        Complete(CallOutcome.Completed, null);
    }

    /// <summary>Takes the error of a text.</summary>
    public void FailText(int index, StellaException error)
    {
        bool failsCall = Options.TextFailureMode == StellaTextFailureMode.FailCall;
        lock (gate)
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
                Row(index).Clear();
                (failures ??= []).Add(new StellaTextFailure { TextIndex = index, Error = error });
                if (!IsLast())
                {
                    return;
                }
            }
        }

        Complete(failsCall ? CallOutcome.Failed : CallOutcome.Completed, failsCall ? error : null);
    }

    /// <summary>Ends a call that has no texts.</summary>
    public void CompleteEmpty() => End(CallOutcome.Completed, null);

    /// <summary>Ends the call without its vectors, unless it has its answer.</summary>
    public void End(CallOutcome outcome, Exception? error)
    {
        lock (gate)
        {
            if (answered)
            {
                return;
            }

            answered = true;
        }

        Complete(outcome, error);
    }

    /// <summary>Ends the call by an error: one of its own, or one of a pool that cannot serve it now.</summary>
    public void EndBy(Exception error) => End(
        error is StellaPoolException or StellaMemoryException or StellaThreadException ? CallOutcome.Rejected : CallOutcome.Failed, error);

    /// <summary>Ends the call because its time is over.</summary>
    public void TimeOut()
    {
        int done = Texts.Length - Volatile.Read(ref remaining);
        End(CallOutcome.TimedOut, new StellaTimeoutException(Timeout.GetValueOrDefault(), done, Texts.Length));
    }

    /// <summary>Puts the results into the caller's memory, on the caller's path. May run the caller's code.</summary>
    public void CopyOut()
    {
        destination.CopyOut();
        counts.CopyOut();
    }

    /// <summary>Makes the summary of a call that is answered with vectors.</summary>
    public StellaCallSummary Summarize(TimeSpan queueTime) => new()
    {
        TextCount = Texts.Length,
        TokenCount = tokens,
        TruncatedTextCount = truncated,
        Failures = failures is null ? [] : [.. failures.OrderBy(failure => failure.TextIndex)],
        QueueTime = queueTime,
    };

    private Span<float> Row(int index) => destination.Span.Slice(index * Kind.Dimension, Kind.Dimension);

    private bool IsLast()
    {
        remaining--;
        answered = remaining == 0;
        return answered;
    }

    private void Complete(CallOutcome outcome, Exception? error)
    {
        try
        {
            Ended(this);
        }
        finally
        {
            completion.Set(new CallAnswer(outcome, error));
        }
    }
}

/// <summary>How a call ended, and by which error.</summary>
internal readonly record struct CallAnswer(CallOutcome Outcome, Exception? Error);

/// <summary>Texts of a call that wait for room in the queue.</summary>
internal sealed record QueuedPart(ReadOnlyMemory<TokenizedText> Texts, ReadOnlyMemory<int> Indices, long Tokens, bool IsLast);

/// <summary>What the scheduler knows of a call. Only it touches this, under its lock.</summary>
internal sealed class QueueEntry
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

    /// <summary>The texts that wait for room in the queue.</summary>
    public QueuedPart? Part { get; set; }

    /// <summary>Ends when these texts are in the queue.</summary>
    public Signal? Room { get; set; }

    /// <summary>When the first of its texts was started, by the pool's clock.</summary>
    public long? StartedAt { get; set; }
}
