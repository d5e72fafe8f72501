using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Engines;

/// <summary>A model that is loaded in one of the libraries.</summary>
internal interface IEngine : IDisposable
{
    /// <summary>Gets the library, its version, the encoder and the instruction set.</summary>
    string Detail { get; }

    /// <summary>Prepares a workload that runs as one call. This is the part that is not timed.</summary>
    IPreparedWorkload Prepare(Workload workload);

    /// <summary>Prepares a workload in the batches that are fastest for this engine. An engine may try several, which takes a while.</summary>
    IPreparedWorkload PrepareFastest(Workload workload, Action<string> log, CancellationToken cancellationToken);
}
