using Microsoft.Extensions.Logging;

namespace StellaInterop.Serving;

/// <summary>The log records of a pool. An event id keeps its meaning in every version.</summary>
internal static partial class PoolLog
{
    [LoggerMessage(100, LogLevel.Information, "{Model} is loaded in {Precision}, in {Seconds:0.00} s")]
    public static partial void Loaded(ILogger logger, string model, StellaPrecision precision, double seconds);

    [LoggerMessage(101, LogLevel.Error, "{Model} could not be loaded")]
    public static partial void LoadFailed(ILogger logger, string model, Exception error);

    [LoggerMessage(102, LogLevel.Information, "{Model} is unloaded")]
    public static partial void Unloaded(ILogger logger, string model);

    [LoggerMessage(110, LogLevel.Debug, "Worker {Number} of {Model} started")]
    public static partial void WorkerStarted(ILogger logger, int number, string model);

    [LoggerMessage(111, LogLevel.Debug, "Worker {Number} of {Model} ended")]
    public static partial void WorkerEnded(ILogger logger, int number, string model);

    [LoggerMessage(112, LogLevel.Error, "Worker {Number} of {Model} broke and is replaced")]
    public static partial void WorkerReplaced(ILogger logger, int number, string model, Exception error);

    [LoggerMessage(113, LogLevel.Warning, "Worker {Number} of {Model} could not be started")]
    public static partial void WorkerRefused(ILogger logger, int number, string model, Exception error);

    [LoggerMessage(114, LogLevel.Error, "{Count} workers of {Model} did not end within {Seconds:0} s and are left behind")]
    public static partial void WorkersStuck(ILogger logger, int count, string model, double seconds);

    [LoggerMessage(120, LogLevel.Error, "Calls on {Model} are refused for a while: {Reason}")]
    public static partial void BreakerOpened(ILogger logger, string model, string reason);

    [LoggerMessage(121, LogLevel.Information, "Calls on {Model} are taken again")]
    public static partial void BreakerClosed(ILogger logger, string model);

    [LoggerMessage(130, LogLevel.Warning, "A batch of {Texts} texts failed in {Model}")]
    public static partial void ForwardFailed(ILogger logger, int texts, string model, Exception error);

    [LoggerMessage(131, LogLevel.Warning, "A call of {Texts} texts on {Model} failed")]
    public static partial void CallFailed(ILogger logger, int texts, string model, Exception error);

    [LoggerMessage(132, LogLevel.Debug, "A batch of {Texts} texts failed in {Model} during the search for the cause of a fault: {Error}")]
    public static partial void ForwardFailedAgain(ILogger logger, int texts, string model, string error);

    [LoggerMessage(133, LogLevel.Debug, "A call of {Texts} texts on {Model} failed by one of its texts: {Error}")]
    public static partial void TextFailed(ILogger logger, int texts, string model, string error);

    [LoggerMessage(140, LogLevel.Information, "The pool of {Model} takes no more calls; {Calls} are still to be answered")]
    public static partial void Draining(ILogger logger, string model, int calls);

    [LoggerMessage(141, LogLevel.Information, "The pool of {Model} is closed")]
    public static partial void Closed(ILogger logger, string model);

    [LoggerMessage(150, LogLevel.Error, "A thread or timer of the pool of {Model} met an error that nothing else caught; the pool goes on")]
    public static partial void ThreadFailed(ILogger logger, string model, Exception error);

    [LoggerMessage(151, LogLevel.Error, "A step of closing the pool of {Model} failed; the other steps were done")]
    public static partial void StepFailed(ILogger logger, string model, Exception error);
}
