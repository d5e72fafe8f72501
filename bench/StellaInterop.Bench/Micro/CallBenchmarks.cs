using BenchmarkDotNet.Attributes;
using StellaInterop.Bench.Sources;

namespace StellaInterop.Bench;

/// <summary>Measures the overhead of a call, with a tiny model that needs hardly any arithmetic.</summary>
[MemoryDiagnoser]
public class CallBenchmarks
{
    private StellaModel model = null!;
    private float[] vector = [];

    /// <summary>Loads a model of three layers of width 64.</summary>
    [GlobalSetup]
    public void Load()
    {
        model = StellaModel.Load(Path.Combine(SourceTree.Root, "tests/fixtures/models/tiny-new"), new StellaModelOptions { Threads = 1 });
        vector = new float[model.Info.DefaultDimension];
    }

    /// <summary>Frees the model.</summary>
    [GlobalCleanup]
    public void Free() => model.Dispose();

    /// <summary>Measures the argument checks of a call without texts.</summary>
    [Benchmark]
    public void EmbedNothing() => model.Embed(ReadOnlySpan<string>.Empty, vector);

    /// <summary>Measures a native call: packing the text, two special tokens, and copying them back.</summary>
    [Benchmark]
    public StellaTokens TokenizeBlank() => model.Tokenize(string.Empty);

    /// <summary>Measures a full call that writes into the caller's memory.</summary>
    [Benchmark]
    public void EmbedBlank() => model.Embed([string.Empty], vector);

    /// <summary>Measures a full call that allocates its result.</summary>
    [Benchmark]
    public float[] EmbedBlankToArray() => model.Embed(string.Empty);
}
