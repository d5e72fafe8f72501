using Microsoft.Extensions.Logging;

namespace StellaInterop.Server.Telemetry;

/// <summary>The log records of the server. An event id keeps its meaning in every version.</summary>
internal static partial class ServerLog
{
    [LoggerMessage(1, LogLevel.Information, "{Method} {Path} {Status} {Milliseconds:0.0} ms, {Texts} texts, {Tokens} tokens, model {Model}, key {Key}, {Id}: {Refusal}")]
    public static partial void Answered(
        ILogger logger, string method, string path, int status, double milliseconds, int texts, long tokens, string model, string key, string id, string refusal);

    [LoggerMessage(2, LogLevel.Error, "The request {Id} to {Method} {Path} failed.")]
    public static partial void Failed(ILogger logger, string id, string method, string path, Exception exception);

    [LoggerMessage(10, LogLevel.Information, "The file of keys was read again. It has {Count} keys.")]
    public static partial void KeysReloaded(ILogger logger, int count);

    [LoggerMessage(11, LogLevel.Error, "The file of keys cannot be used, and the keys before stay valid. {Reason}")]
    public static partial void KeysBroken(ILogger logger, string reason);
}
