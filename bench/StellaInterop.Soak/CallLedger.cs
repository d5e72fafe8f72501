using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace StellaInterop.Soak;

/// <summary>The answer to one call.</summary>
/// <param name="Outcome">The name of the outcome, as in the meter.</param>
/// <param name="Value">The result of a completed call.</param>
/// <param name="Error">The error of any other call.</param>
/// <param name="Seconds">The time from the call to its answer.</param>
internal readonly record struct Answer<T>(string Outcome, T? Value, Exception? Error, double Seconds)
{
    public bool IsCompleted => Outcome == Outcomes.Completed;
}

/// <summary>Names of outcomes, as in the meter.</summary>
internal static class Outcomes
{
    public const string Completed = "completed";
    public const string Rejected = "rejected";
    public const string Cancelled = "cancelled";
    public const string TimedOut = "timed_out";
    public const string Failed = "failed";

    /// <summary>An error that the library does not document.</summary>
    public const string Unknown = "unknown";
}

/// <summary>Counts the answers that callers got, and the calls that the pool's own meter counted. Thread-safe.</summary>
internal sealed class CallLedger : IMeterFactory
{
    private const string Meter = "StellaInterop";

    private readonly Stopwatch clock = Stopwatch.StartNew();

    private readonly Lock gate = new();
    private readonly MeterListener listener = new();
    private readonly Meter meter;
    private readonly DurationHistogram rejectionsOfSecond = new();
    private int secondOfRejections;
    private readonly Dictionary<string, long> counted = [];

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

    /// <summary>Seconds of the pool's clock in one second: the meter's times are divided by it.</summary>
    public int ClockFactor { get; set; } = 1;

    public long Submitted { get; private set; }

    /// <summary>Calls by the name of their outcome, as callers saw it.</summary>
    public Dictionary<string, long> Seen { get; } = [];

    /// <summary>Calls by the name of their outcome, as the meter counted them.</summary>
    public Dictionary<string, long> Counted => counted;

    /// <summary>Calls of honest callers that had another answer than their vectors.</summary>
    public long Unserved { get; private set; }

    public string? FirstUnserved { get; private set; }

    public long Texts { get; private set; }

    public long Tokens { get; private set; }

    public long WrongVectors { get; private set; }

    public long FailedTexts { get; private set; }

    public string? FirstError { get; private set; }

    /// <summary>Times from a call to its refusal by a full queue.</summary>
    public DurationHistogram Rejections { get; } = new();

    /// <summary>The 99th percentile of these times, for each second of the scenario that has passed.</summary>
    public List<double> RejectionsBySecond { get; } = [];

    /// <summary>Times of calls with one text that were completed.</summary>
    public DurationHistogram Singles { get; } = new();

    public DurationHistogram QueueTimes { get; } = new();

    public DurationHistogram ForwardTimes { get; } = new();

    /// <summary>Makes a call, and counts it and its answer. Errors that a pool documents become the answer.</summary>
    /// <param name="call">The call.</param>
    /// <param name="isExpected">Tells whether an error of a failed call was made on purpose; others are reported.</param>
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
#pragma warning disable CA1031 // Every error is an answer, and the table shows those that nobody made.
        catch (Exception e)
#pragma warning restore CA1031
        {
            error = e;
        }

        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        string outcome = OutcomeOf(error);
        lock (gate)
        {
            Seen[outcome] = Seen.GetValueOrDefault(outcome) + 1;
            if (error is StellaOverloadedException)
            {
                Refused(seconds);
            }

            if (outcome == Outcomes.Unknown || (outcome == Outcomes.Failed && isExpected?.Invoke((StellaException)error!) != true))
            {
                FirstError ??= error!.ToString();
            }
        }

        return new Answer<T>(outcome, value, error, seconds);
    }

    /// <summary>Counts a call that had to be answered with vectors and was not.</summary>
    public void AddUnserved(string outcome, Exception? error)
    {
        lock (gate)
        {
            Unserved++;
            FirstUnserved ??= error is null ? outcome : $"{error.GetType().Name}: {error.Message}";
        }
    }

    /// <summary>Counts the last second too. No call may come after.</summary>
    public void Close() => EndSecond();

    public void Vectors(int texts, long tokens, int failed, int wrong, double? single)
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

    /// <summary>Tells whether an error, or one of its causes, is of a type.</summary>
    public static bool IsCausedBy<T>(Exception? error)
        where T : Exception => error is not null && (error is T || IsCausedBy<T>(error.InnerException));

    /// <summary>The one meter, as the platform's own factory gives the same for the same name.</summary>
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

    private void Refused(double seconds)
    {
        int second = (int)clock.Elapsed.TotalSeconds;
        if (second != secondOfRejections)
        {
            EndSecond();
            secondOfRejections = second;
        }

        Rejections.Add(seconds);
        rejectionsOfSecond.Add(seconds);
    }

    private void EndSecond()
    {
        if (rejectionsOfSecond.Count > 0)
        {
            RejectionsBySecond.Add(rejectionsOfSecond.Percentile(0.99));
            rejectionsOfSecond.Clear();
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
                    counted[(string)tag!] = counted.GetValueOrDefault((string)tag!) + value;
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
