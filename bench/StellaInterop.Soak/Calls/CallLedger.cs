using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace StellaInterop.Soak.Calls;

/// <summary>Counts calls and their answers, both as the callers and as the pool's meter report them. Thread-safe.</summary>
internal sealed class CallLedger : IMeterFactory
{
    private const string Meter = "StellaInterop";

    private readonly Stopwatch clock = Stopwatch.StartNew();

    private readonly Lock gate = new();
    private readonly MeterListener listener = new();
    private readonly Meter meter;
    private readonly DurationHistogram rejectionsInSecond = new();
    private int currentSecond;

    public CallLedger()
    {
        meter = new Meter(new MeterOptions(Meter) { Scope = this });
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, this) && !instrument.IsObservable)
            {
                self.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>(Count);
        listener.SetMeasurementEventCallback<double>(Time);
        listener.Start();
    }

    /// <summary>Gets or sets the speed of the pool's clock relative to real time. The meter's durations are divided by it.</summary>
    public int ClockFactor { get; set; } = 1;

    public long Submitted { get; private set; }

    /// <summary>Gets the number of calls by outcome, as the callers saw it.</summary>
    public Dictionary<string, long> CallerOutcomes { get; } = [];

    /// <summary>Gets the number of calls by outcome, as the meter counted them.</summary>
    public Dictionary<string, long> MeterOutcomes { get; } = [];

    /// <summary>Gets the number of calls that had to complete and did not.</summary>
    public long Unserved { get; private set; }

    public string? FirstUnserved { get; private set; }

    public long Texts { get; private set; }

    public long Tokens { get; private set; }

    public long WrongVectors { get; private set; }

    public long FailedTexts { get; private set; }

    public string? FirstError { get; private set; }

    /// <summary>Gets the times from a call to its refusal by a full queue.</summary>
    public DurationHistogram Rejections { get; } = new();

    /// <summary>Gets the 99th percentile of these times for each second in which calls were refused.</summary>
    public List<double> RejectionsBySecond { get; } = [];

    /// <summary>Gets the times of completed calls with one text.</summary>
    public DurationHistogram Singles { get; } = new();

    public DurationHistogram QueueTimes { get; } = new();

    public DurationHistogram ForwardTimes { get; } = new();

    /// <summary>Makes a call, and counts it and its answer. Errors become the answer.</summary>
    /// <param name="call">The call.</param>
    /// <param name="isExpected">Returns whether the error of a failed call was injected. Other errors are reported.</param>
    public async Task<Answer<T>> CallAsync<T>(Func<Task<T>> call, Func<StellaException, bool>? isExpected = null)
    {
        lock (gate)
        {
            Submitted++;
        }

        long begin = Stopwatch.GetTimestamp();
        T? value = default;
        Exception? error = null;
        try
        {
            value = await call().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // Every error is an answer. Unexpected errors are reported.
        catch (Exception e)
#pragma warning restore CA1031
        {
            error = e;
        }

        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        string outcome = OutcomeOf(error);
        lock (gate)
        {
            CallerOutcomes[outcome] = CallerOutcomes.GetValueOrDefault(outcome) + 1;
            if (error is StellaOverloadedException)
            {
                AddRejection(seconds);
            }

            if (outcome == Outcomes.Unknown || (outcome == Outcomes.Failed && isExpected?.Invoke((StellaException)error!) != true))
            {
                FirstError ??= error!.ToString();
            }
        }

        return new Answer<T>(outcome, value, error, seconds);
    }

    /// <summary>Counts a call that had to complete and did not.</summary>
    public void AddUnserved(string outcome, Exception? error)
    {
        lock (gate)
        {
            Unserved++;
            FirstUnserved ??= error is null ? outcome : $"{error.GetType().Name}: {error.Message}";
        }
    }

    /// <summary>Includes the rejections of the last second. No call may follow.</summary>
    public void Close() => EndSecond();

    public void AddVectors(int texts, long tokens, int failed, int wrong, double? single)
    {
        lock (gate)
        {
            Texts += texts;
            Tokens += tokens;
            FailedTexts += failed;
            WrongVectors += wrong;
            if (single is { } seconds)
            {
                Singles.Add(seconds);
            }
        }
    }

    /// <summary>Returns whether an error or one of its causes is a <typeparamref name="T"/>.</summary>
    public static bool IsCausedBy<T>(Exception? error)
        where T : Exception => error is not null && (error is T || IsCausedBy<T>(error.InnerException));

    /// <summary>Returns the one meter. The platform's own factory also returns the same meter for the same name.</summary>
    Meter IMeterFactory.Create(MeterOptions options) => meter;

    public void Dispose()
    {
        listener.Dispose();
        meter.Dispose();
    }

    private static string OutcomeOf(Exception? error) => error switch
    {
        null => Outcomes.Completed,
        StellaTimeoutException => Outcomes.TimedOut,
        StellaPoolException or ObjectDisposedException => Outcomes.Rejected,
        OperationCanceledException => Outcomes.Cancelled,
        StellaException => Outcomes.Failed,
        _ => Outcomes.Unknown,
    };

    private void AddRejection(double seconds)
    {
        int second = (int)clock.Elapsed.TotalSeconds;
        if (second != currentSecond)
        {
            EndSecond();
            currentSecond = second;
        }

        Rejections.Add(seconds);
        rejectionsInSecond.Add(seconds);
    }

    private void EndSecond()
    {
        if (rejectionsInSecond.Count > 0)
        {
            RejectionsBySecond.Add(rejectionsInSecond.Percentile(0.99));
            rejectionsInSecond.Clear();
        }
    }

    private void Count(Instrument instrument, long value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
    {
        if (instrument.Name != "stella.calls" || instrument.Meter.Name != Meter)
        {
            return;
        }

        foreach (var (name, tag) in tags)
        {
            if (name == "stella.outcome")
            {
                lock (gate)
                {
                    MeterOutcomes[(string)tag!] = MeterOutcomes.GetValueOrDefault((string)tag!) + value;
                }
            }
        }
    }

    private void Time(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
    {
        DurationHistogram? times = instrument.Name switch
        {
            "stella.queue.duration" => QueueTimes,
            "stella.forward.duration" => ForwardTimes,
            _ => null,
        };
        if (times is not null)
        {
            lock (gate)
            {
                times.Add(value / ClockFactor);
            }
        }
    }
}
