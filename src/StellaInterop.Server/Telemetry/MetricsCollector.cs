using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace StellaInterop.Server.Telemetry;

/// <summary>Collects the instruments of <see cref="MetricTable"/>, and writes them in the text format of Prometheus. Thread-safe.</summary>
/// <remarks>
/// Every series is present from the beginning: a missing series looks like a broken scrape, and a rate over a counter that appears with
/// its first event misses that event.
/// </remarks>
internal sealed class MetricsCollector : IDisposable
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private const string ModelTag = "stella.model";
    private const string ModelLabel = "model";

    private readonly Lock gate = new();
    private readonly Dictionary<string, Family> families;
    private readonly MeterListener listener;

    /// <param name="meters">The factory of the meters. Meters of other factories, such as those of another server in the process, do not count.</param>
    /// <param name="models">The names of the models.</param>
    public MetricsCollector(IMeterFactory meters, IReadOnlyList<string> models)
    {
        families = MetricTable.All.ToDictionary(family => family.Instrument, family => new Family(family, models), StringComparer.Ordinal);
        listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Scope == meters && instrument.Meter.Name is StellaTelemetry.MeterName or MetricTable.ServerMeterName
                    && families.TryGetValue(instrument.Name, out Family? family))
                {
                    listener.EnableMeasurementEvents(instrument, family);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, state) => Record((Family)state!, value, tags, instrument.IsObservable));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, state) => Record((Family)state!, value, tags, instrument.IsObservable));
        listener.Start();
    }

    /// <summary>Returns all metrics as text.</summary>
    public string Write()
    {
        listener.RecordObservableInstruments();
        var text = new StringBuilder();
        lock (gate)
        {
            foreach (MetricFamily description in MetricTable.All)
            {
                families[description.Instrument].Write(text);
            }
        }

        return text.ToString();
    }

    public void Dispose() => listener.Dispose();

    private void Record(Family family, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags, bool isWhole)
    {
        string labels = family.GetLabels(tags);
        lock (gate)
        {
            family.Record(labels, value, isWhole);
        }
    }

    /// <summary>One metric and its series by their labels. Used under the lock of the collector.</summary>
    private sealed class Family
    {
        private readonly MetricFamily description;
        private readonly (string Tag, string Label)[] labels;
        private readonly SortedDictionary<string, Series> series = new(StringComparer.Ordinal);

        public Family(MetricFamily description, IReadOnlyList<string> models)
        {
            this.description = description;
            (string Tag, string Label, string[] Values)[] all = description.IsPerModel
                ? [(ModelTag, ModelLabel, [.. models]), .. description.Labels]
                : description.Labels;
            labels = [.. all.Select(label => (label.Tag, label.Label))];
            foreach (string[] values in Combine(all.Select(label => label.Values)))
            {
                series[Format(values)] = new Series(description.Buckets.Length);
            }
        }

        /// <summary>Returns the labels of a measurement as Prometheus writes them.</summary>
        public string GetLabels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            string[] values = new string[labels.Length];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = "";
                foreach (KeyValuePair<string, object?> tag in tags)
                {
                    if (tag.Key == labels[i].Tag)
                    {
                        values[i] = Convert.ToString(tag.Value, CultureInfo.InvariantCulture) ?? "";
                    }
                }
            }

            return Format(values);
        }

        /// <summary>Adds a measurement.</summary>
        /// <param name="key">The labels.</param>
        /// <param name="value">The value.</param>
        /// <param name="isWhole">Whether the value replaces the sum of all values before: an observed one does.</param>
        public void Record(string key, double value, bool isWhole)
        {
            if (!series.TryGetValue(key, out Series? one))
            {
                series[key] = one = new Series(description.Buckets.Length);
            }

            one.Sum = isWhole ? value : one.Sum + value;
            one.Count++;
            for (int i = 0; i < one.Buckets.Length; i++)
            {
                one.Buckets[i] += value <= description.Buckets[i] ? 1 : 0;
            }
        }

        public void Write(StringBuilder text)
        {
#pragma warning disable CA1308 // The types are lower case in the format.
            _ = text.Append(CultureInfo.InvariantCulture, $"# HELP {description.Name} {description.Help}\n# TYPE {description.Name} {description.Type.ToString().ToLowerInvariant()}\n");
#pragma warning restore CA1308
            foreach ((string key, Series one) in series)
            {
                if (description.Type != MetricType.Histogram)
                {
                    _ = text.Append(CultureInfo.InvariantCulture, $"{description.Name}{{{key}}} {one.Sum}\n");
                    continue;
                }

                for (int i = 0; i < one.Buckets.Length; i++)
                {
                    _ = text.Append(CultureInfo.InvariantCulture, $"{description.Name}_bucket{{{key},le=\"{description.Buckets[i]}\"}} {one.Buckets[i]}\n");
                }

                _ = text.Append(CultureInfo.InvariantCulture, $"{description.Name}_bucket{{{key},le=\"+Inf\"}} {one.Count}\n")
                    .Append(CultureInfo.InvariantCulture, $"{description.Name}_sum{{{key}}} {one.Sum}\n{description.Name}_count{{{key}}} {one.Count}\n");
            }
        }

        private string Format(string[] values) => string.Join(
            ',', values.Select((value, i) => $"{labels[i].Label}=\"{value.Replace("\\", @"\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", @"\n", StringComparison.Ordinal)}\""));

        private static IEnumerable<string[]> Combine(IEnumerable<string[]> values) => values.Aggregate(
            (IEnumerable<string[]>)[[]], (combined, next) => combined.SelectMany(prefix => next.Select(value => (string[])[.. prefix, value])));
    }

    private sealed class Series(int buckets)
    {
        public double Sum { get; set; }

        public long Count { get; set; }

        public long[] Buckets { get; } = new long[buckets];
    }
}
