namespace StellaInterop.Server.Errors;

/// <summary>Specifies the reason for a refusal. Each protocol has a status and a name for each kind.</summary>
internal enum ErrorKind
{
    /// <summary>A field has a wrong type or value.</summary>
    InvalidRequest,

    /// <summary>The body is not JSON, or not an object.</summary>
    MalformedBody,

    /// <summary>The request has no text.</summary>
    EmptyInput,

    /// <summary>A text has more tokens than the model takes.</summary>
    TextTooLong,

    /// <summary>The tokenizer failed on a text.</summary>
    NotTokenized,

    /// <summary>The server has no model of the name.</summary>
    UnknownModel,

    /// <summary>The models of this server cannot do what the route does.</summary>
    NotSupported,

    /// <summary>The path is not one of the server.</summary>
    UnknownRoute,

    /// <summary>The path exists with another method.</summary>
    WrongMethod,

    /// <summary>The content type or the content encoding is not supported.</summary>
    UnsupportedMediaType,

    /// <summary>The body exceeds the limit.</summary>
    BodyTooLarge,

    /// <summary>The body arrived too slowly.</summary>
    BodyTooSlow,

    /// <summary>The request has no key, or a wrong one.</summary>
    InvalidKey,

    /// <summary>The key has used up its budget.</summary>
    RateLimited,

    /// <summary>The queue is full.</summary>
    Overloaded,

    /// <summary>The model cannot be loaded, or calls of it are refused at the moment, or the server stops.</summary>
    Unavailable,

    /// <summary>The model is loaded, and the forward pass failed.</summary>
    ForwardFailed,

    /// <summary>The time that the client set is over.</summary>
    TimedOut,

    /// <summary>A defect of the server.</summary>
    Internal,
}

/// <summary>Represents a refusal, without the shape that a protocol gives it.</summary>
/// <param name="Kind">The reason.</param>
/// <param name="Message">The problem with its value, then the remedy. Shown to the client.</param>
internal sealed record ServerError(ErrorKind Kind, string Message)
{
    /// <summary>Gets the field of the request that is at fault, if one is.</summary>
    public string? Field { get; init; }

    /// <summary>Gets the time to wait before another attempt, if another attempt can succeed.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>Gets the methods of the path, for <see cref="ErrorKind.WrongMethod"/>.</summary>
    public string? Allow { get; init; }
}

/// <summary>Represents a refusal on its way from a handler to the client.</summary>
internal sealed class ServerException(ServerError error, Exception? innerException = null) : Exception(error.Message, innerException)
{
    public ServerException(ErrorKind kind, string message, string? field = null)
        : this(new ServerError(kind, message) { Field = field })
    {
    }

    public ServerError Error { get; } = error;
}
