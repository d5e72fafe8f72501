using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace StellaInterop.Pooling;

/// <summary>What a pool tells the world while it works: metrics, traces and log records, all in one place.</summary>
/// <remarks>
/// Names follow OpenTelemetry: dotted, units in UCUM. Every instrument has the tag <c>stella.model</c>. Traces come from the
/// source <c>StellaInterop</c>: an activity a call, with one for its time in the queue and one for its forwards inside.
/// </remarks>
internal sealed class PoolTelemetry : IDisposable
{
    /// <summary>The name of the meter and of the source of activities.</summary>
    public const string Name = "StellaInterop";

    private static readonly ActivitySource Source = new(Name);

    private readonly ILogger logger;
    private readonly TimeProvider time;
    private readonly Meter meter;
    private readonly bool ownsMeter;
    private readonly KeyValuePair<string, object?> model;
    private readonly Counter<long> calls;
    private readonly Counter<long> texts;
    private readonly Counter<long> tokens;
    private readonly Counter<long> truncated;
    private readonly Counter<long> cached;
    private readonly Counter<long> replaced;
    private readonly Histogram<double> callTime;
    private readonly Histogram<double> queueTime;
    private readonly Histogram<double> tokenizeTime;
    private readonly Histogram<double> forwardTime;
    private readonly Histogram<long> batchTexts;
    private readonly Histogram<long> batchTokens;

    /// <summary>What gauges read. A factory's meter keeps them for ever: a pool that is closed says nothing, and is not kept.</summary>
    private volatile Readings? readings;

    public PoolTelemetry(string modelName, StellaPoolOptions options, Func<StellaPoolHealth> health, Func<StellaMemoryStatus> memory)
    {
        ModelName = modelName;
        time = options.TimeProvider;
        ILoggerFactory factory = options.LoggerFactory ?? options.Model.LoggerFactory ?? NullLoggerFactory.Instance;
        logger = new SafeLogger(factory.CreateLogger("StellaInterop.Pool"));
        ownsMeter = options.MeterFactory is null;
        meter = options.MeterFactory?.Create(Name) ?? new Meter(Name);
        model = new("stella.model", modelName);

        calls = meter.CreateCounter<long>("stella.calls", "{request}", "Calls by outcome.");
        texts = meter.CreateCounter<long>("stella.texts", "{text}", "Texts of calls that were answered with vectors.");
        tokens = meter.CreateCounter<long>("stella.tokens", "{token}", "Tokens of calls that were answered with vectors.");
        truncated = meter.CreateCounter<long>("stella.texts.truncated", "{text}", "Texts that were cut to the model's limit.");
        cached = meter.CreateCounter<long>("stella.cache.hits", "{text}", "Texts whose vector was kept.");
        replaced = meter.CreateCounter<long>("stella.workers.replaced", "{worker}", "Workers that broke.");
        callTime = Seconds("stella.call.duration", "Time from a call to its answer, by outcome.");
        queueTime = Seconds("stella.queue.duration", "Time from a call to the first of its texts being computed.");
        tokenizeTime = Seconds("stella.tokenize.duration", "Time to tokenize some texts of a call.");
        forwardTime = Seconds("stella.forward.duration", "Time of a batch in the model.");
        batchTexts = meter.CreateHistogram<long>("stella.batch.texts", "{text}", "Texts of a batch.");
        batchTokens = meter.CreateHistogram<long>("stella.batch.tokens", "{token}", "Tokens of a batch.");
        readings = new Readings(health, memory);
        Gauge("stella.queue.calls", "{request}", "Calls that are accepted and not answered.", now => [new(now.Health().QueuedCalls, model)]);
        Gauge("stella.queue.tokens", "{token}", "Tokens that wait.", now => [new(now.Health().QueuedTokens, model)]);
        Gauge("stella.workers", "{worker}", "Workers by state.", now => Workers(now.Health()));
        Gauge(
            "stella.memory.reserved", "By", "Memory that models and workers of the process reserved.", now => [new(now.Memory().ReservedBytes, model)]);
        Gauge("stella.memory.limit", "By", "Memory that they may reserve.", now => [new(now.Memory().LimitBytes, model)]);
    }

    public string ModelName { get; }

    /// <summary>Begins the activity of a call, if somebody listens.</summary>
    public Activity? Begin(int textCount, StellaCallOptions options)
    {
        Activity? activity = null;
        Safely(() => activity = Source.StartActivity("stella.embed", ActivityKind.Internal)
            ?.SetTag("stella.model", ModelName)
            .SetTag("stella.texts", textCount)
            .SetTag("stella.priority", options.Priority == StellaPriority.Bulk ? "bulk" : "interactive"));
        return activity;
    }

    /// <summary>A call has its answer.</summary>
    public void Ended(PoolCall call, CallOutcome outcome, Exception? error)
    {
        TimeSpan elapsed = time.GetElapsedTime(call.ArrivedAt);
        Safely(() =>
        {
            TagList tags = [model, new("stella.outcome", NameOf(outcome))];
            if (error is StellaException known)
            {
                tags.Add("error.type", known.Code.ToString());
            }

            calls.Add(1, tags);
            callTime.Record(elapsed.TotalSeconds, tags);
            if (call.Place.QueueTime is { } waited)
            {
                queueTime.Record(waited.TotalSeconds, model);
            }
        });
        if (outcome == CallOutcome.Failed)
        {
            PoolLog.CallFailed(logger, call.Texts.Length, ModelName, error!);
        }
    }

    /// <summary>Ends the activity of a call.</summary>
    public void End(Activity? activity, PoolCall call, StellaCallSummary? summary, Exception? error) => Safely(() =>
    {
        if (summary is not null)
        {
            texts.Add(summary.Texts, model);
            tokens.Add(summary.Tokens, model);
            truncated.Add(summary.TruncatedTexts, model);
        }

        if (activity is null)
        {
            return;
        }

        if (call.Place.QueueTime is { } waited)
        {
            DateTime begin = activity.StartTimeUtc;
            DateTime computed = begin + waited;
            Part("stella.queue", activity, begin, computed);
            Part("stella.forward", activity, computed, begin + time.GetElapsedTime(call.ArrivedAt));
        }

        _ = error is null
            ? activity.SetTag("stella.tokens", summary!.Tokens).SetStatus(ActivityStatusCode.Ok)
            : activity.SetTag("error.type", error.GetType().FullName).SetStatus(ActivityStatusCode.Error, error.Message);
        activity.Dispose();
    });

    public void CacheHit() => Safely(() => cached.Add(1, model));

    public void Tokenized(long begin) => Safely(() => tokenizeTime.Record(time.GetElapsedTime(begin).TotalSeconds, model));

    public void Forward(int textCount, int tokenCount, TimeSpan elapsed) => Safely(() =>
    {
        forwardTime.Record(elapsed.TotalSeconds, model);
        batchTexts.Record(textCount, model);
        batchTokens.Record(tokenCount, model);
    });

    public void ForwardFailed(int textCount, Exception error) => PoolLog.ForwardFailed(logger, textCount, ModelName, error);

    public void Loaded(StellaModelInfo info, TimeSpan elapsed) =>
        PoolLog.Loaded(logger, ModelName, info.Precision, elapsed.TotalSeconds);

    public void LoadFailed(Exception error) => PoolLog.LoadFailed(logger, ModelName, error);

    public void Unloaded() => PoolLog.Unloaded(logger, ModelName);

    public void WorkerStarted(int number) => PoolLog.WorkerStarted(logger, number, ModelName);

    public void WorkerRefused(int number, Exception error) => PoolLog.WorkerRefused(logger, number, ModelName, error);

    public void WorkerEnded(int number, Exception? broken)
    {
        if (broken is null)
        {
            PoolLog.WorkerEnded(logger, number, ModelName);
        }
        else
        {
            Safely(() => replaced.Add(1, model));
            PoolLog.WorkerReplaced(logger, number, ModelName, broken);
        }
    }

    public void WorkersStuck(int count, TimeSpan timeout) =>
        PoolLog.WorkersStuck(logger, count, ModelName, timeout.TotalSeconds);

    public void BreakerChanged(BreakerState state, string reason)
    {
        if (state == BreakerState.Open)
        {
            PoolLog.BreakerOpened(logger, ModelName, reason);
        }
        else
        {
            PoolLog.BreakerClosed(logger, ModelName);
        }
    }

    public void Draining(int count) => PoolLog.Draining(logger, ModelName, count);

    public void Closed() => PoolLog.Closed(logger, ModelName);

    public void Dispose()
    {
        readings = null;
        // A factory's meters are the factory's.
        if (ownsMeter)
        {
            meter.Dispose();
        }
    }

    /// <summary>
    /// Tells those who listen. What they throw is theirs: it must not keep a caller from its answer, or end a worker.
    /// </summary>
    private static void Safely(Action tell)
    {
        try
        {
            tell();
        }
#pragma warning disable CA1031 // See above.
        catch
#pragma warning restore CA1031
        {
        }
    }

    private static void Part(string name, Activity parent, DateTime begin, DateTime end) =>
        Source.StartActivity(name, ActivityKind.Internal, parent.Context, startTime: begin)?.SetEndTime(end).Dispose();

    private Histogram<double> Seconds(string name, string description) =>
        meter.CreateHistogram<double>(name, "s", description);

    private void Gauge(string name, string unit, string description, Func<Readings, Measurement<long>[]> read) =>
        _ = meter.CreateObservableUpDownCounter(name, () => readings is { } now ? read(now) : [], unit, description);

    private Measurement<long>[] Workers(StellaPoolHealth health) =>
    [
        new(health.BusyWorkers, model, new("stella.state", "busy")),
        new(health.Workers - health.BusyWorkers, model, new("stella.state", "idle")),
    ];

    private static string NameOf(CallOutcome outcome) => outcome switch
    {
        CallOutcome.Completed => "completed",
        CallOutcome.Failed => "failed",
        CallOutcome.Cancelled => "cancelled",
        CallOutcome.TimedOut => "timed_out",
        _ => "rejected",
    };

    /// <summary>A logger whose failures are nobody's.</summary>
    private sealed class SafeLogger(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel)
        {
            bool enabled = false;
            Safely(() => enabled = inner.IsEnabled(logLevel));
            return enabled;
        }

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Safely(() => inner.Log(logLevel, eventId, state, exception, formatter));
    }

    private sealed record Readings(Func<StellaPoolHealth> Health, Func<StellaMemoryStatus> Memory);
}
