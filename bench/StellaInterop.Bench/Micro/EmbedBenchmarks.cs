using BenchmarkDotNet.Attributes;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench;

/// <summary>Text to vectors with the shipped model, by number of texts and their length.</summary>
[MemoryDiagnoser]
public class EmbedBenchmarks
{
    private StellaModel model = null!;
    private string[] texts = [];
    private float[] vectors = [];

    /// <summary>Texts of one call.</summary>
    [Params(1, 8, 32)]
    public int Texts { get; set; }

    /// <summary>Tokens of one text, special tokens included.</summary>
    [Params(8, 128)]
    public int Tokens { get; set; }

    /// <summary>Loads the model and makes texts of exactly the wanted length: "river" is one token.</summary>
    [GlobalSetup]
    public void Load()
    {
        model = StellaModel.Load(StellaMiniModel.Path);
        texts = [.. Enumerable.Repeat(string.Join(' ', Enumerable.Repeat("river", Tokens - 2)), Texts)];
        vectors = new float[Texts * model.Info.DefaultDimension];
        if (model.Tokenize(texts[0]).TokenCount.Total != Tokens)
        {
            throw new InvalidOperationException("the texts do not have the wanted length");
        }
    }

    /// <summary>Frees the model.</summary>
    [GlobalCleanup]
    public void Free() => model.Dispose();

    /// <summary>The whole way, text to normalised vectors.</summary>
    [Benchmark]
    public void Embed() => model.Embed(texts, vectors);

    /// <summary>Its first part: text to ids.</summary>
    [Benchmark]
    public StellaTokens[] Tokenize() => model.Tokenize(texts);
}
