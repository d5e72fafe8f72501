using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Fields;

namespace StellaInterop.Server.Telemetry;

/// <summary>Counts requests. Thread-safe.</summary>
internal sealed class RequestMetrics
{
    private readonly Counter<long> requests;
    private readonly Histogram<double> duration;
    private readonly UpDownCounter<long> running;

    public RequestMetrics(IMeterFactory meters, RequestRoom room)
    {
#pragma warning disable CA2000 // The factory disposes its meters.
        Meter meter = meters.Create(MetricTable.ServerMeterName);
#pragma warning restore CA2000
        requests = meter.CreateCounter<long>(MetricTable.RequestsInstrument, "{request}", "Requests by protocol and outcome.");
        duration = meter.CreateHistogram<double>(MetricTable.DurationInstrument, "s", "Time from the head of a request to the end of its answer.");
        running = meter.CreateUpDownCounter<long>(MetricTable.RunningInstrument, "{request}", "Requests that are being answered.");
        _ = meter.CreateObservableGauge(MetricTable.BufferedInstrument, () => room.Taken, "By", "Buffers of requests, of MaxBufferedBytes.");
    }

    public void Begin(string protocol) => running.Add(1, Protocol(protocol));

    /// <summary>Counts the end of a request.</summary>
    /// <param name="protocol">The name of the protocol.</param>
    /// <param name="status">The status of the answer.</param>
    /// <param name="hasLeft">Whether the client left before the end.</param>
    /// <param name="elapsed">The time from the head of the request.</param>
    public void End(string protocol, int status, bool hasLeft, TimeSpan elapsed)
    {
        string outcome = hasLeft ? "client_left"
            : status < 400 ? "ok"
            : status is 429 or 503 ? "refused"
            : status < 500 && status != StatusCodes.Status424FailedDependency ? "client_error"
            : "failed";
        running.Add(-1, Protocol(protocol));
        requests.Add(1, Protocol(protocol), new(MetricTable.OutcomeTag, outcome));
        duration.Record(elapsed.TotalSeconds, Protocol(protocol));
    }

    private static KeyValuePair<string, object?> Protocol(string name) => new(MetricTable.ProtocolTag, name);
}
