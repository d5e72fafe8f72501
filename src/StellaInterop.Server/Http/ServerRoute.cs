using StellaInterop.Server.Fields;

namespace StellaInterop.Server.Http;

/// <summary>Specifies the callers that a route answers.</summary>
internal enum RouteAccess
{
    /// <summary>Callers with a key, if the server has keys.</summary>
    Key,

    /// <summary>Every caller.</summary>
    Everyone,
}

/// <summary>Answers a request. It throws for a refusal, and never writes one.</summary>
internal delegate Task Answer(RequestContext context);

/// <summary>Describes a route: one method of one path. It is also the metadata of its endpoint.</summary>
/// <param name="Method">The method. A GET route answers HEAD too.</param>
/// <param name="Path">The pattern of the path.</param>
/// <param name="Protocol">The protocol, which shapes errors.</param>
/// <param name="Access">The callers.</param>
/// <param name="Summary">The purpose, for the API description.</param>
/// <param name="Answer">Answers a request.</param>
internal sealed record ServerRoute(string Method, string Path, Protocol Protocol, RouteAccess Access, string Summary, Answer Answer)
{
    /// <summary>The method of a route that refuses all methods that its path does not have.</summary>
    public const string AnyMethod = "*";

    /// <summary>Gets the fields of the body; <see langword="null"/> for a route without one.</summary>
    public IReadOnlyList<IFieldSchema>? Body { get; init; }

    /// <summary>Gets the JSON schema of the answer; <see langword="null"/> if the answer is not JSON.</summary>
    public string? AnswerSchema { get; init; }

    /// <summary>Gets the precedence. Routes of the application have 0, and the lower number wins.</summary>
    public int Order { get; init; }
}
