namespace StellaInterop.Server.Telemetry;

/// <summary>Specifies the type of a metric in Prometheus.</summary>
internal enum MetricType
{
    Counter,
    Gauge,
    Histogram,
}

/// <summary>Describes one metric: the instrument that it comes from, and the series that it always has.</summary>
/// <param name="Instrument">The name of the instrument.</param>
/// <param name="Name">The name in Prometheus.</param>
/// <param name="Type">The type.</param>
/// <param name="Help">The meaning.</param>
/// <param name="Labels">
/// The labels and their values, besides the model. A label without values has those of the models. Other tags of the instrument are left out.
/// </param>
internal sealed record MetricFamily(string Instrument, string Name, MetricType Type, string Help, params (string Tag, string Label, string[] Values)[] Labels)
{
    /// <summary>Gets whether each model has its own series.</summary>
    public bool IsPerModel { get; init; } = true;

    /// <summary>Gets the upper bounds of the buckets of a histogram, ascending.</summary>
    public double[] Buckets { get; init; } = [];
}
