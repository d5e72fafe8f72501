using System.IO.Hashing;
using System.Runtime.InteropServices;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>Computes vectors of one dimension or more that depend on the text, the model and the level alone.</summary>
internal sealed class TestEmbedder(int model = 0, int level = 0, params int[] dimensions) : IEmbedder
{
    private readonly int[] dimensions = dimensions.Length == 0 ? [4] : dimensions;

    /// <summary>The texts that were computed.</summary>
    public List<string> Computed { get; } = [];

    /// <summary>Is called with the texts of each block before it is computed.</summary>
    public Func<string[], CancellationToken, Task>? Before { get; init; }

    /// <summary>The prompt, which changes the vectors and is no part of the fingerprint.</summary>
    public StellaPrompt Prompt { get; init; }

    public EmbedderInfo Info => new(dimensions, 512, StellaPrecision.Float32, [.. dimensions.Select(dimension => $"model{model}-{dimension}")]);

    public Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken) => Task.FromResult(Info);

    public async Task EmbedAsync(TextBlock block, CancellationToken cancellationToken)
    {
        if (Before is not null)
        {
            await Before(block.Texts, cancellationToken);
        }

        lock (Computed)
        {
            Computed.AddRange(block.Texts);
        }

        for (int i = 0; i < block.Texts.Length; i++)
        {
            for (int head = 0; head < dimensions.Length; head++)
            {
                Vector(block.Texts[i], dimensions[head]).CopyTo(block.Vectors[head], i * dimensions[head]);
            }

            block.TokenCounts[i] = new StellaTokenCount { Kept = block.Texts[i].Length, Total = block.Texts[i].Length };
            block.Faults[i] = block.Texts[i].Contains('#') ? RowFaultKind.TooManyTokens : null;
        }
    }

    /// <summary>Returns the vector of a text.</summary>
    public float[] Vector(string text, int dimension)
    {
        ulong seed = XxHash3.HashToUInt64(MemoryMarshal.AsBytes(text.AsSpan()), (model * 31) + dimension + (Prompt == StellaPrompt.Default ? 0 : 1000));
        float factor = text.Contains("huge") ? 1e6f : 1;
        return [.. Enumerable.Range(0, dimension).Select(i => ((seed >> (i % 8 * 8) & 0xff) + (level / 1024f)) * factor)];
    }
}
