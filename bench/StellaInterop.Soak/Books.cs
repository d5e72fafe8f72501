using System.Diagnostics.Metrics;

namespace StellaInterop.Soak;

/// <summary>What callers saw, and what the pool's own meter counted. Thread-safe.</summary>
internal sealed class Books : IMeterFactory
{
    private const string Meter = "StellaInterop";

    private readonly Lock gate = new();
    private readonly MeterListener listener = new();
    private readonly List<Meter> meters = [];
    private readonly Dictionary<string, long> counted = [];

    public Books()
    {
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

    /// <summary>Seconds until a call was refused, with the second of the scenario in which it was.</summary>
    public List<(int Second, double Seconds)> Rejections { get; } = [];

    /// <summary>Seconds of single-text calls that were answered.</summary>
    public List<double> Singles { get; } = [];

    public List<double> QueueTimes { get; } = [];

    public List<double> ForwardTimes { get; } = [];

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
            Rejections.Add((second, seconds));
        }
    }

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

    Meter IMeterFactory.Create(MeterOptions options)
    {
        var meter = new Meter(new MeterOptions(options.Name) { Scope = this });
        lock (gate)
        {
            meters.Add(meter);
        }

        return meter;
    }

    public void Dispose()
    {
        listener.Dispose();
        meters.ForEach(meter => meter.Dispose());
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
        List<double>? times = instrument.Name switch
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
