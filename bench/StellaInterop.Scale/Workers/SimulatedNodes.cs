using StellaInterop.Bulk.Jobs;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Nodes;

namespace StellaInterop.Scale.Workers;

/// <summary>Describes the simulated nodes, which have the same model, level and version.</summary>
internal static class SimulatedNodes
{
    private const string Model = "simulated";
    private const string Level = "avx2";
    private const string Version = "1";

    /// <summary>Returns the options of a node. Its leases have the times as shipped.</summary>
    public static NodeOptions OptionsOf(string machine, IEmbedder embedder) => new()
    {
        ModelName = Model,
        Level = Level,
        Version = Version,
        Machine = machine,
        CreateEmbedder = _ => embedder,
    };

    /// <summary>Returns a node that begins a job and does not work on it.</summary>
    public static NodeInfo Observer() => new() { Id = "", Machine = "", Address = "", Level = Level, Version = Version, Model = Model };
}
