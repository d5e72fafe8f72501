namespace StellaInterop.Server.Keys;

/// <summary>Represents one API key as the file has it. The key itself is not stored.</summary>
internal sealed record ApiKey
{
    /// <summary>Gets the name, for logs and limits.</summary>
    public required string Name { get; init; }

    /// <summary>Gets the SHA-256 of the key in lower case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Gets the largest number of tokens in a minute; <see langword="null"/> for no limit.</summary>
    public int? TokensPerMinute { get; init; }

    /// <summary>Gets the largest number of requests at a time; <see langword="null"/> for no limit.</summary>
    public int? Concurrent { get; init; }

    /// <summary>Gets the priority of all requests of the key; <see langword="null"/> for the priority that a request names.</summary>
    public StellaPriority? Priority { get; init; }
}
