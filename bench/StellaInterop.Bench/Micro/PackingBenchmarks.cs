using BenchmarkDotNet.Attributes;
using StellaInterop.Interop;

namespace StellaInterop.Bench;

/// <summary>Measures packing strings as UTF-8, which is the first step of a call.</summary>
[MemoryDiagnoser]
public class PackingBenchmarks
{
    private readonly PackedTexts pack = new();
    private string[] texts = [];

    /// <summary>Gets or sets the number of texts in one call.</summary>
    [Params(1, 32, 1024)]
    public int Texts { get; set; }

    /// <summary>Gets or sets the number of characters in one text.</summary>
    [Params(40, 600)]
    public int Characters { get; set; }

    /// <summary>Makes the texts. One letter in ten takes two bytes.</summary>
    [GlobalSetup]
    public void Make() =>
        texts = [.. Enumerable.Range(0, Texts).Select(i => string.Concat(Enumerable.Range(i, Characters).Select(j => j % 10 == 0 ? 'é' : (char)('a' + (j % 26)))))];

    /// <summary>Packs the texts. Each pack reuses the memory of the one before.</summary>
    [Benchmark]
    public int Pack()
    {
        int packed = 0;
        while (packed < texts.Length)
        {
            pack.Fill(texts.AsSpan(packed), packed, StellaInvalidTextBehavior.Error);
            packed += pack.Count;
        }

        return packed;
    }
}
