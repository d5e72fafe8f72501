namespace StellaInterop.Tests.Clients;

/// <summary>Represents a request that a client is asked to make.</summary>
/// <param name="Address">The address of the server, without a slash at its end.</param>
/// <param name="Key">The API key.</param>
/// <param name="Model">The name of the model.</param>
/// <param name="Texts">The texts.</param>
/// <param name="IsSingle">Whether to call the client's function for one text.</param>
/// <param name="Dimension">The dimension; <see langword="null"/> for the default of the model.</param>
internal sealed record ClientRequest(string Address, string Key, string Model, IReadOnlyList<string> Texts, bool IsSingle, int? Dimension);

/// <summary>Represents the result of a client: vectors, or the text of its error.</summary>
internal sealed record ClientResult(double[][]? Vectors, string? Error);

/// <summary>A published client with its default settings. Created for one run; not thread-safe.</summary>
internal abstract class ServerClient(string source, string package) : IDisposable
{
    /// <summary>Gets the name of the client with its registry, as in the document.</summary>
    public string Name { get; } = $"{package} ({source})";

    /// <summary>Gets the version of the client.</summary>
    public abstract string Version { get; }

    /// <summary>Gets the names of the cases that the client's interface cannot express.</summary>
    public IReadOnlyCollection<string> CannotSay { get; init; } = [];

    public abstract Task<ClientResult> EmbedAsync(ClientRequest request);

    public virtual void Dispose()
    {
    }

    public override string ToString() => Name;
}
