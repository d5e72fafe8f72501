using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Clusters;

/// <summary>The options of <c>stella node</c>.</summary>
internal sealed record NodeSettings
{
    public required ClusterSettings Cluster { get; init; }

    /// <summary>Gets the name of the model for people.</summary>
    public required string ModelName { get; init; }

    /// <summary>Gets the function that creates the pool. It takes the function that writes a line to standard error.</summary>
    public required Func<Action<string>, StellaEmbeddingPool> CreatePool { get; init; }

    /// <summary>Gets the level of the processor; <see langword="null"/> for the best one.</summary>
    public required string? Level { get; init; }

    /// <summary>Gets the address that the node tells others, as HOST or HOST:PORT; <see langword="null"/> to choose it.</summary>
    public required string? Advertised { get; init; }

    /// <summary>Gets the addresses of the pages, with a semicolon between them; <see langword="null"/> for no pages.</summary>
    public required string? Urls { get; init; }

    /// <summary>Gets the file with the hashes of the keys of the pages.</summary>
    public required string? KeyFile { get; init; }

    /// <summary>Gets whether the pages may be reached from other machines without keys.</summary>
    public required bool IsInsecure { get; init; }

    public required bool HasDashboard { get; init; }

    public required Verbosity Verbosity { get; init; }
}
