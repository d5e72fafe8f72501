using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Engines;

/// <summary>A loaded model in some library, ready to embed.</summary>
internal interface IEngine : IDisposable
{
    /// <summary>Which library, version, encoder and instructions compute.</summary>
    string Detail { get; }

    /// <summary>Makes a workload ready to be run as one call: all that is not to be timed.</summary>
    IWork Prepare(Workload workload);

    /// <summary>The same in the batches that suit this engine best. Some try which ones these are, and that takes a while.</summary>
    IWork PrepareBest(Workload workload, Action<string> say, CancellationToken cancellationToken);
}

/// <summary>A workload that is ready to be run again and again.</summary>
internal interface IWork : IDisposable
{
    /// <summary>How the texts are batched; empty where they are one call.</summary>
    string Batching { get; }

    /// <summary>Embeds all texts.</summary>
    void Run(CancellationToken cancellationToken);

    /// <summary>The raw vector of a text after a run.</summary>
    ReadOnlySpan<float> Vector(int text);
}
