namespace StellaInterop.Bench.Engines;

/// <summary>A prepared workload that can run repeatedly.</summary>
internal interface IPreparedWorkload : IDisposable
{
    /// <summary>Gets a description of the batches; empty if all texts are one call.</summary>
    string Batching { get; }

    /// <summary>Embeds all texts of the workload.</summary>
    void Run(CancellationToken cancellationToken);

    /// <summary>Returns the vector of a text, not normalized, after a run.</summary>
    ReadOnlySpan<float> Vector(int text);
}
