using Microsoft.AspNetCore.Http;

namespace StellaInterop.Server.Errors;

/// <summary>Maps exceptions to refusals. No other code decides about the status of an exception.</summary>
internal static class ErrorMap
{
    /// <summary>The wait for a model that failed to load or is out of memory, if the pool does not know better.</summary>
    private static readonly TimeSpan DefaultWait = TimeSpan.FromSeconds(5);

    public static ServerError Map(Exception exception) => exception switch
    {
        ServerException server => server.Error,
        StellaInputException { Code: StellaErrorCode.TextTooLong } => new(ErrorKind.TextTooLong, exception.Message),
        StellaInputException => new(ErrorKind.InvalidRequest, exception.Message),
        StellaOptionException { Code: StellaErrorCode.UnknownDimension } => new(ErrorKind.InvalidRequest, exception.Message) { Field = "dimensions" },
        StellaOptionException => new(ErrorKind.InvalidRequest, exception.Message),
        StellaOverloadedException e => new(
            ErrorKind.Overloaded,
            $"The server is at its limit: {e.QueuedCallCount} of {e.MaxQueuedCalls} calls{(e.MaxQueuedTokens == 0 ? "" : $" and {e.ReservedTokenCount} of {e.MaxQueuedTokens} tokens")} are queued. Try again later.")
        {
            RetryAfter = e.RetryAfter,
        },
        StellaTimeoutException => new(ErrorKind.TimedOut, exception.Message),
        StellaPoolException e => new(ErrorKind.Unavailable, exception.Message) { RetryAfter = e.RetryAfter ?? DefaultWait },
        ObjectDisposedException => new(ErrorKind.Unavailable, "The server is stopping. Try again later.") { RetryAfter = DefaultWait },
        // The folder, the memory budget, a thread or a forward pass: paths and causes are in the log and not in the answer.
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
    public static bool IsFault(ServerError error, Exception exception) =>
        error.Kind == ErrorKind.Internal || (error.Kind == ErrorKind.Unavailable && exception is not (StellaPoolException or ObjectDisposedException or ServerException));
}
