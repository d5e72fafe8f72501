using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>Emits the metrics, traces and log records of a pool.</summary>
/// <remarks>
/// Names follow OpenTelemetry: dotted, units in UCUM. Every instrument has the tag <c>stella.model</c>. Traces come from the
/// source <c>StellaInterop</c>: one activity per call, with inner activities for its time in the queue and for its forward passes.
/// </remarks>
internal sealed class PoolTelemetry : IDisposable
{
    /// <summary>The name of the meter and of the source of activities.</summary>
    public const string Name = StellaTelemetry.MeterName;

    private static readonly ActivitySource Source = new(StellaTelemetry.ActivitySourceName);

    private readonly ILogger logger;
    private readonly PoolClock clock;
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

    /// <summary>The number of users of the meter: the pool, and each call whose end is not reported yet. The last user disposes the meter.</summary>
    private int users = 1;
    private int isDisposed;
    private IDisposable? gauges;

    public PoolTelemetry(string modelName, StellaPoolOptions options, PoolClock clock)
    {
        ModelName = modelName;
        this.clock = clock;
        ILoggerFactory factory = options.LoggerFactory ?? options.Model.LoggerFactory ?? NullLoggerFactory.Instance;
        logger = new SafeLogger(factory.CreateLogger("StellaInterop.Pool"));
        ownsMeter = options.MeterFactory is null;
        meter = options.MeterFactory?.Create(Name) ?? new Meter(Name);
        model = new("stella.model", modelName);

        calls = meter.CreateCounter<long>("stella.calls", "{request}", "Calls by outcome.");
        texts = meter.CreateCounter<long>("stella.texts", "{text}", "Texts of calls that were answered with vectors.");
        tokens = meter.CreateCounter<long>("stella.tokens", "{token}", "Tokens of calls that were answered with vectors.");
        truncated = meter.CreateCounter<long>("stella.texts.truncated", "{text}", "Texts that were truncated to the model's limit.");
        cached = meter.CreateCounter<long>("stella.cache.hits", "{text}", "Texts whose vector was in the cache.");
        replaced = meter.CreateCounter<long>("stella.workers.replaced", "{worker}", "Workers that broke and were replaced.");
        callTime = Seconds("stella.call.duration", "Time from a call to its answer, by outcome.");
        queueTime = Seconds("stella.queue.duration", "Time from a call to the first of its texts being computed.");
        tokenizeTime = Seconds("stella.tokenize.duration", "Time to tokenize some texts of a call.");
        forwardTime = Seconds("stella.forward.duration", "Time of a batch in the model.");
        batchTexts = meter.CreateHistogram<long>("stella.batch.texts", "{text}", "Texts of a batch.");
        batchTokens = meter.CreateHistogram<long>("stella.batch.tokens", "{token}", "Tokens of a batch.");
    }

    /// <summary>Publishes the gauges of a pool that is complete: listeners may read them before this returns.</summary>
    public void Publish(Func<StellaPoolHealth> health, StellaMemoryGovernor governor) =>
        gauges = PoolGauges.Add(meter, ModelName, health, governor);

    public string ModelName { get; }

    /// <summary>Starts the activity of a call, if a listener wants it. A call of <see cref="Ended"/> must follow.</summary>
    public Activity? Begin(int textCount, StellaCallOptions options)
    {
        Interlocked.Increment(ref users);
        Activity? activity = null;
        ForeignCode.Run(() => activity = Source.StartActivity("stella.embed", ActivityKind.Internal)
            ?.SetTag("stella.model", ModelName)
            .SetTag("stella.texts", textCount)
            .SetTag("stella.priority", options.Priority == StellaPriority.Bulk ? "bulk" : "interactive"));
        return activity;
    }

    /// <summary>Reports the end of a call on the caller's own path, where a slow listener delays no other call.</summary>
    /// <param name="activity">The activity that <see cref="Begin"/> returned.</param>
    /// <param name="call">The call.</param>
    /// <param name="outcome">The outcome of the call.</param>
    /// <param name="queued">The time until the first of its texts was started, if one was.</param>
    /// <param name="summary">Its summary; <see langword="null"/> without vectors.</param>
    /// <param name="error">The error of a call without vectors.</param>
    public void Ended(
        Activity? activity, PoolCall call, CallOutcome outcome, TimeSpan? queued, StellaCallSummary? summary, Exception? error)
    {
        TimeSpan elapsed = clock.Since(call.ArrivedAt);
        ForeignCode.Run(() => Count(outcome, elapsed, queued, summary, error));
        if (activity is not null)
        {
            ForeignCode.Run(() => End(activity, elapsed, queued, summary, error));
        }

        if (outcome == CallOutcome.Failed)
        {
            if (error is StellaInputException or StellaOptionException)
            {
                // The caller has the error. A caller can make any number of such mistakes, so each gets one short line.
                PoolLog.TextFailed(logger, call.Texts.Length, ModelName, error.Message);
            }
            else
            {
                PoolLog.CallFailed(logger, call.Texts.Length, ModelName, error!);
            }
        }

        Release();
    }

    public void CacheHit() => ForeignCode.Run(() => cached.Add(1, model));

    public void Tokenized(TimeSpan elapsed) => ForeignCode.Run(() => tokenizeTime.Record(elapsed.TotalSeconds, model));

    public void Forward(int textCount, int tokenCount, TimeSpan elapsed) => ForeignCode.Run(() =>
    {
        forwardTime.Record(elapsed.TotalSeconds, model);
        batchTexts.Record(textCount, model);
        batchTokens.Record(tokenCount, model);
    });

    /// <summary>Logs one warning for each fault: the search for its cause fails again by design.</summary>
    public void ForwardFailed(int textCount, Exception error, bool isFirstOfFault)
    {
        if (isFirstOfFault)
        {
            PoolLog.ForwardFailed(logger, textCount, ModelName, error);
        }
        else
        {
            PoolLog.ForwardFailedAgain(logger, textCount, ModelName, error.Message);
        }
    }

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
            ForeignCode.Run(() => replaced.Add(1, model));
            PoolLog.WorkerReplaced(logger, number, ModelName, broken);
        }
    }

    public void WorkersStuck(int count, TimeSpan timeout) =>
        PoolLog.WorkersStuck(logger, count, ModelName, timeout.TotalSeconds);

    public void BreakerOpened(string? reason)
    {
        if (reason is not null)
        {
            PoolLog.BreakerOpened(logger, ModelName, reason);
        }
    }

    public void BreakerClosed(bool closed)
    {
        if (closed)
        {
            PoolLog.BreakerClosed(logger, ModelName);
        }
    }

    public void ThreadFailed(Exception error) => PoolLog.ThreadFailed(logger, ModelName, error);

    public void StepFailed(Exception error) => PoolLog.StepFailed(logger, ModelName, error);

    /// <summary>Runs work of the pool, also on threads of the caller. An error is logged and goes no further.</summary>
    public void Guarded(Action work)
    {
        try
        {
            work();
        }
#pragma warning disable CA1031 // The outermost catch: an error beyond it reaches the caller, or ends the process.
        catch (Exception e)
#pragma warning restore CA1031
        {
            ThreadFailed(e);
        }
    }

    public void Draining(int count) => PoolLog.Draining(logger, ModelName, count);

    public void Closed() => PoolLog.Closed(logger, ModelName);

    public void Dispose()
    {
        ForeignCode.Run(() => gauges?.Dispose());
        if (Interlocked.Exchange(ref isDisposed, 1) == 0)
        {
            Release();
        }
    }

    private void Release()
    {
        // A meter of a factory belongs to the factory.
        if (Interlocked.Decrement(ref users) == 0 && ownsMeter)
        {
            ForeignCode.Run(meter.Dispose);
        }
    }

    private void Count(CallOutcome outcome, TimeSpan elapsed, TimeSpan? queued, StellaCallSummary? summary, Exception? error)
    {
        TagList tags = [model, new("stella.outcome", NameOf(outcome))];
        if (error is StellaException known)
        {
            tags.Add("error.type", known.Code.ToString());
        }

        calls.Add(1, tags);
        callTime.Record(elapsed.TotalSeconds, tags);
        if (queued is { } waited)
        {
            queueTime.Record(waited.TotalSeconds, model);
        }

        if (summary is not null)
        {
            texts.Add(summary.TextCount, model);
            tokens.Add(summary.TokenCount, model);
            truncated.Add(summary.TruncatedTextCount, model);
        }
    }

    private static void End(
        Activity activity, TimeSpan elapsed, TimeSpan? queued, StellaCallSummary? summary, Exception? error)
    {
        if (queued is { } waited)
        {
            DateTime begin = activity.StartTimeUtc;
            AddInner("stella.queue", activity, begin, begin + waited);
            AddInner("stella.forward", activity, begin + waited, begin + elapsed);
        }

        _ = error is null
            ? activity.SetTag("stella.tokens", summary!.TokenCount).SetStatus(ActivityStatusCode.Ok)
            : activity.SetTag("error.type", error.GetType().FullName).SetStatus(ActivityStatusCode.Error, error.Message);
        activity.Dispose();
    }

    private static void AddInner(string name, Activity parent, DateTime begin, DateTime end) =>
        Source.StartActivity(name, ActivityKind.Internal, parent.Context, startTime: begin)?.SetEndTime(end).Dispose();

    private Histogram<double> Seconds(string name, string description) =>
        meter.CreateHistogram<double>(name, "s", description);

    private static string NameOf(CallOutcome outcome) => outcome switch
    {
        CallOutcome.Completed => "completed",
        CallOutcome.Failed => "failed",
        CallOutcome.Cancelled => "cancelled",
        CallOutcome.TimedOut => "timed_out",
        _ => "rejected",
    };

    /// <summary>A logger of the caller whose failures are swallowed.</summary>
    private sealed class SafeLogger(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel)
        {
            bool enabled = false;
            ForeignCode.Run(() => enabled = inner.IsEnabled(logLevel));
            return enabled;
        }

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            ForeignCode.Run(() => inner.Log(logLevel, eventId, state, exception, formatter));
    }
}
