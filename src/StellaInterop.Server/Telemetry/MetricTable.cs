namespace StellaInterop.Server.Telemetry;

/// <summary>The metrics of the server.</summary>
internal static class MetricTable
{
    /// <summary>The name of the meter of the server's own instruments.</summary>
    public const string ServerMeterName = "StellaInterop.Server";

    public const string RequestsInstrument = "stella.http.requests";
    public const string DurationInstrument = "stella.http.duration";
    public const string RunningInstrument = "stella.http.running";
    public const string BufferedInstrument = "stella.http.buffered";
    public const string ProtocolTag = "stella.protocol";
    public const string OutcomeTag = "stella.outcome";

    /// <summary>The outcomes of a request: answered, a mistake of the client, refused for now, failed, or the client left.</summary>
    public static readonly string[] Outcomes = ["ok", "client_error", "refused", "failed", "client_left"];

    private static readonly string[] Protocols = ["openai", "tei", "ollama", "server"];

    private static readonly (string, string, string[]) CallOutcome = (OutcomeTag, "outcome", ["completed", "failed", "cancelled", "timed_out", "rejected"]);
    private static readonly (string, string, string[]) Protocol = (ProtocolTag, "protocol", Protocols);

    /// <summary>From a millisecond to a minute, in seconds.</summary>
    private static readonly double[] Seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

    /// <summary>Powers of two, for counts of texts and tokens.</summary>
    private static readonly double[] Powers = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

    public static IReadOnlyList<MetricFamily> All { get; } =
    [
        new("stella.calls", "stella_calls_total", MetricType.Counter, "Calls of the pool by outcome.", CallOutcome),
        new("stella.texts", "stella_texts_total", MetricType.Counter, "Texts that were embedded."),
        new("stella.tokens", "stella_tokens_total", MetricType.Counter, "Tokens of these texts."),
        new("stella.texts.truncated", "stella_texts_truncated_total", MetricType.Counter, "Texts that were truncated to the model's limit."),
        new("stella.cache.hits", "stella_cache_hits_total", MetricType.Counter, "Texts whose vector was in the cache."),
        new("stella.workers.replaced", "stella_workers_replaced_total", MetricType.Counter, "Workers that broke and were replaced."),
        new("stella.call.duration", "stella_call_duration_seconds", MetricType.Histogram, "Time from a call to its answer, by outcome.", CallOutcome) { Buckets = Seconds },
        new("stella.queue.duration", "stella_queue_duration_seconds", MetricType.Histogram, "Time from a call to the first of its texts being computed.") { Buckets = Seconds },
        new("stella.tokenize.duration", "stella_tokenize_duration_seconds", MetricType.Histogram, "Time to tokenize some texts of a call.") { Buckets = Seconds },
        new("stella.forward.duration", "stella_forward_duration_seconds", MetricType.Histogram, "Time of a batch in the model.") { Buckets = Seconds },
        new("stella.batch.texts", "stella_batch_texts", MetricType.Histogram, "Texts of a batch.") { Buckets = Powers },
        new("stella.batch.tokens", "stella_batch_tokens", MetricType.Histogram, "Tokens of a batch.") { Buckets = Powers },
        new("stella.queue.calls", "stella_queue_calls", MetricType.Gauge, "Calls that are accepted and not answered."),
        new("stella.queue.tokens", "stella_queue_tokens", MetricType.Gauge, "Tokens that wait for a worker."),
        new("stella.workers", "stella_workers", MetricType.Gauge, "Workers by state.", ("stella.state", "state", ["busy", "idle"])),
        new("stella.memory.reserved", "stella_memory_reserved_bytes", MetricType.Gauge, "Memory that models and workers of the process reserved."),
        new("stella.memory.limit", "stella_memory_limit_bytes", MetricType.Gauge, "Memory that they may reserve."),
        new(RequestsInstrument, "stella_http_requests_total", MetricType.Counter, "Requests by protocol and outcome.", Protocol, (OutcomeTag, "outcome", Outcomes))
        {
            IsPerModel = false,
        },
        new(DurationInstrument, "stella_http_duration_seconds", MetricType.Histogram, "Time from the head of a request to the end of its answer.", Protocol)
        {
            IsPerModel = false,
            Buckets = Seconds,
        },
        new(RunningInstrument, "stella_http_running", MetricType.Gauge, "Requests that are being answered.", Protocol) { IsPerModel = false },
        new(BufferedInstrument, "stella_http_buffered_bytes", MetricType.Gauge, "Buffers of requests, of MaxBufferedBytes.") { IsPerModel = false },
    ];
}
