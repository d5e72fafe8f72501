using BenchmarkDotNet.Attributes;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench;

/// <summary>Measures embedding with the shipped model, by number of texts and their length.</summary>
[MemoryDiagnoser]
public class EmbedBenchmarks
{
    private StellaModel model = null!;
    private string[] texts = [];
    private float[] vectors = [];

    /// <summary>Gets or sets the number of texts in one call.</summary>
    [Params(1, 8, 32)]
    public int Texts { get; set; }

    /// <summary>Gets or sets the number of tokens in one text, special tokens included.</summary>
    [Params(8, 128)]
    public int Tokens { get; set; }

    /// <summary>Loads the model and makes texts of <see cref="Tokens"/> tokens. "river" is one token.</summary>
    [GlobalSetup]
    public void Load()
    {
        model = StellaModel.Load(StellaMiniModel.Path);
        texts = [.. Enumerable.Repeat(string.Join(' ', Enumerable.Repeat("river", Tokens - 2)), Texts)];
        vectors = new float[Texts * model.Info.DefaultDimension];
        if (model.Tokenize(texts[0]).TokenCount.Total != Tokens)
        {
            throw new InvalidOperationException($"A text does not have {Tokens} tokens. Check the tokenizer of the model.");
        }
    }

    /// <summary>Frees the model.</summary>
    [GlobalCleanup]
    public void Free() => model.Dispose();

    /// <summary>Measures the full call, from texts to normalized vectors.</summary>
    [Benchmark]
    public void Embed() => model.Embed(texts, vectors);

    /// <summary>Measures the first part of the call: from texts to token ids.</summary>
    [Benchmark]
    public StellaTokens[] Tokenize() => model.Tokenize(texts);
}
