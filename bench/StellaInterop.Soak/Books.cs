using System.Diagnostics.Metrics;

namespace StellaInterop.Soak;

/// <summary>What callers saw, and what the pool's own meter counted. Thread-safe.</summary>
internal sealed class Books : IMeterFactory
{
    private const string Meter = "StellaInterop";

    private readonly Lock gate = new();
    private readonly MeterListener listener = new();
    private readonly Meter meter;
    private readonly Times rejectionsOfSecond = new();
    private int secondOfRejections;
    private readonly Dictionary<string, long> counted = [];

    public Books()
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

    public long Submitted { get; private set; }

    /// <summary>By the name of the outcome in the meter.</summary>
    public Dictionary<string, long> Seen { get; } = [];

    /// <summary>The same by the meter.</summary>
    public Dictionary<string, long> Counted => counted;

    public long Texts { get; private set; }

    public long Tokens { get; private set; }

    public long WrongVectors { get; private set; }

    public long FailedTexts { get; private set; }

    public string? FirstError { get; private set; }

    /// <summary>Until a call was refused.</summary>
    public Times Rejections { get; } = new();

    /// <summary>The 99th percentile of it, for each second of the scenario that has passed.</summary>
    public List<double> RejectionsBySecond { get; } = [];

    /// <summary>Of single-text calls that were answered.</summary>
    public Times Singles { get; } = new();

    public Times QueueTimes { get; } = new();

    public Times ForwardTimes { get; } = new();

    public void Submit()
    {
        lock (gate)
        {
            Submitted++;
        }
    }

    public void Answer(string outcome)
    {
        lock (gate)
        {
            Seen[outcome] = Seen.GetValueOrDefault(outcome) + 1;
        }
    }

    public void Rejected(int second, double seconds)
    {
        lock (gate)
        {
            if (second != secondOfRejections)
            {
                EndSecond();
                secondOfRejections = second;
            }

            Rejections.Add(seconds);
            rejectionsOfSecond.Add(seconds);
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

    public void Error(Exception error)
    {
        lock (gate)
        {
            FirstError ??= error.ToString();
        }
    }

    /// <summary>The one meter, as the platform's own factory gives the same for the same name.</summary>
    Meter IMeterFactory.Create(MeterOptions options) => meter;

    public void Dispose()
    {
        listener.Dispose();
        meter.Dispose();
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
        Times? times = instrument.Name switch
        {
            "stella.queue.duration" => QueueTimes,
            "stella.forward.duration" => ForwardTimes,
            _ => null,
        };
        if (times is not null)
        {
            lock (gate)
            {
                times.Add(value);
            }
        }
    }
}
