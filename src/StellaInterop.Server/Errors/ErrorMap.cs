using Microsoft.AspNetCore.Http;

namespace StellaInterop.Server.Errors;

/// <summary>Maps exceptions to refusals. No other code decides about the status of an exception.</summary>
/// <remarks>Causes are in the log and not in the answer, because they may name files of the server.</remarks>
internal static class ErrorMap
{
    /// <summary>The wait for a model that failed to load or is out of memory, if the pool does not know better.</summary>
    private static readonly TimeSpan DefaultWait = TimeSpan.FromSeconds(5);

    public static ServerError Map(Exception exception) => exception switch
    {
        ServerException server => server.Error,
        StellaInputException { Code: StellaErrorCode.TextTooLong } => new(ErrorKind.TextTooLong, exception.Message),
        StellaInputException { Code: StellaErrorCode.TextNotTokenized } => new(ErrorKind.NotTokenized, exception.Message),
        StellaInputException { Code: StellaErrorCode.TextNotUnicode or StellaErrorCode.InvalidArgument } => new(ErrorKind.InvalidRequest, exception.Message),
        // A worker reports its error for each text that it could not embed.
        StellaInputException { Code: not (StellaErrorCode.OutOfMemory or StellaErrorCode.ThreadRefused) } e => new(
            ErrorKind.ForwardFailed, $"The model failed on text {e.TextIndex} ({e.Code}). Send the other texts without it; the log of the server has the reason."),
        StellaOptionException { Code: StellaErrorCode.UnknownDimension } => new(ErrorKind.InvalidRequest, exception.Message) { Field = "dimensions" },
        StellaOptionException => new(ErrorKind.InvalidRequest, exception.Message),
        StellaOverloadedException e => new(
            ErrorKind.Overloaded,
            $"The server is at its limit: {e.QueuedCallCount} of {e.MaxQueuedCalls} calls{(e.MaxQueuedTokens == 0 ? "" : $" and {e.ReservedTokenCount} of {e.MaxQueuedTokens} tokens")} are queued. Try again later.")
        {
            RetryAfter = e.RetryAfter,
        },
        StellaTimeoutException => new(ErrorKind.TimedOut, exception.Message),
        StellaCircuitOpenException e => new(
            ErrorKind.Unavailable, "The model failed so often that it is left alone for a while. Try again later; the log of the server has the reason.")
        {
            RetryAfter = e.RetryAfter,
        },
        StellaPoolException e => new(ErrorKind.Unavailable, exception.Message) { RetryAfter = e.RetryAfter ?? DefaultWait },
        ObjectDisposedException => new(ErrorKind.Unavailable, "The server is stopping. Try again later.") { RetryAfter = DefaultWait },
        StellaException { Code: StellaErrorCode.ForwardFailed or StellaErrorCode.ResultNotFinite or StellaErrorCode.ResultZero } e => new(
            ErrorKind.ForwardFailed, $"The model failed ({e.Code}). Send other texts; the log of the server has the reason."),
        // The folder, the memory budget or a thread.
        StellaException e => new(ErrorKind.Unavailable, $"The model is not available at the moment ({e.Code}). Try again later; the log of the server has the reason.")
        {
            RetryAfter = DefaultWait,
        },
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } => new(
            ErrorKind.BodyTooLarge, "The body exceeds the limit of the web server. Send fewer texts in a request, or raise its limit."),
        BadHttpRequestException { StatusCode: StatusCodes.Status408RequestTimeout } => new(
            ErrorKind.BodyTooSlow, "The body arrived too slowly. Send it without pauses."),
        BadHttpRequestException => new(ErrorKind.MalformedBody, "The body cannot be read: it ended early, or its framing is invalid."),
        _ => new(ErrorKind.Internal, "The server failed; its log has the reason under the id of this request."),
    };

    /// <summary>Returns whether the operator of the server should see an error with its stack. Mistakes of clients are one line.</summary>
    public static bool IsFault(ServerError error, Exception exception) => error.Kind switch
    {
        ErrorKind.Internal or ErrorKind.ForwardFailed => true,
        ErrorKind.Unavailable => exception is not (StellaPoolException or ObjectDisposedException or ServerException),
        _ => false,
    };
}
