using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Cluster.Leases;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Provides what a node works with.</summary>
internal sealed record NodeOptions
{
    /// <summary>Gets the name of the model, for people.</summary>
    public required string ModelName { get; init; }

    /// <summary>Gets the level of the processor, whose bits the vectors have.</summary>
    public required string Level { get; init; }

    /// <summary>Gets the version of the program. All nodes of a job have the same.</summary>
    public required string Version { get; init; }

    /// <summary>Gets the function that creates the embedder of a job. Model and pool belong to the caller.</summary>
    public required Func<StellaBulkOptions, IEmbedder> CreateEmbedder { get; init; }

    /// <summary>Gets the name of the machine.</summary>
    public string Machine { get; init; } = Environment.MachineName;

    public LeasePolicy Policy { get; init; } = LeasePolicy.Default;

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Gets the function that opens an output folder. Tests replace it.</summary>
    public Func<string, IOutputFolder> OpenFolder { get; init; } = static path => new DiskFolder(path);

    /// <summary>Gets the safeguards; all but in tests.</summary>
    public Safeguards Safeguards { get; init; } = Safeguards.All;

    /// <summary>Describes a node whose vectors a pool computes.</summary>
    public static NodeOptions Of(StellaEmbeddingPool pool, string modelName, string level, string version) => new()
    {
        ModelName = modelName,
        Level = level,
        Version = version,
        CreateEmbedder = options => new PoolEmbedder(pool, options),
    };
}
