using BenchmarkDotNet.Attributes;

namespace StellaInterop.Bench;

/// <summary>What a call costs beside its arithmetic: with a tiny model there is hardly any.</summary>
[MemoryDiagnoser]
public class CallBenchmarks
{
    private StellaModel model = null!;
    private float[] vector = [];

    /// <summary>Loads a model of three layers of width 64.</summary>
    [GlobalSetup]
    public void Load()
    {
        model = StellaModel.Load(Path.Combine(Tree.Root, "tests/fixtures/models/tiny-new"), new StellaModelOptions { Threads = 1 });
        vector = new float[model.Info.DefaultDimension];
    }

    /// <summary>Frees the model.</summary>
    [GlobalCleanup]
    public void Free() => model.Dispose();

    /// <summary>The checks of a call that has nothing to do.</summary>
    [Benchmark]
    public void EmbedNothing() => model.Embed(ReadOnlySpan<string>.Empty, vector);

    /// <summary>To the native side and back: packing, two special tokens, their copy.</summary>
    [Benchmark]
    public StellaTokens TokenizeBlank() => model.Tokenize(string.Empty);

    /// <summary>All of it, into the caller's memory.</summary>
    [Benchmark]
    public void EmbedBlank() => model.Embed([string.Empty], vector);

    /// <summary>The same, with a vector of its own for the result.</summary>
    [Benchmark]
    public float[] EmbedBlankToArray() => model.Embed(string.Empty);
}
