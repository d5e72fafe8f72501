using System.Collections.Concurrent;
using StellaInterop.Interop;

namespace StellaInterop.Pooling;

/// <summary>A model in a folder.</summary>
internal sealed class StellaModelSource(string path, StellaModelOptions options) : IPoolModelSource
{
    /// <inheritdoc/>
    public string Name { get; } = StellaModel.NameOf(path, options);

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) =>
        StellaModel.Estimate(path, options, new StellaWorkload { Sessions = 1, Threads = threads, BatchTokens = batchTokens });

    public IPoolModel Load() => new LoadedStellaModel(StellaModel.Load(path, options));
}

/// <summary>A model of the library behind the pool's seam.</summary>
internal sealed class LoadedStellaModel(StellaModel model) : IPoolModel
{
    /// <summary>Memory of calls to the tokenizer, as many as there were at once.</summary>
    private readonly ConcurrentBag<(PackedTexts Texts, TokenizedPack Tokens)> buffers = [];

    public StellaModelInfo Info => model.Info;

    public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens)
    {
        if (!buffers.TryTake(out var buffer))
        {
            buffer = (new PackedTexts(), new TokenizedPack());
        }

        var (pack, packTokens) = buffer;
        for (int first = 0; first < texts.Length; first += pack.Count)
        {
            pack.Fill(texts[first..], firstText + first, options.OnInvalidText, model.Condenser);
            packTokens.Fill(model.Handle, pack, options, Info);
            for (int i = 0; i < pack.Count; i++)
            {
                tokens[first + i] = new TokenizedText(
                    texts[first + i],
                    packTokens.TokensOf(i).ToArray(),
                    packTokens.CountOf(i, pack.Replaced[i]),
                    packTokens.LeftOutOf(i));
            }
        }

        pack.Trim();
        buffers.Add(buffer);
    }

    public string GetFingerprint(int? dimension) => model.GetFingerprint(dimension);

    public IPoolSession StartSession(int threads, int batchTokens) => new StellaPoolSession(model.Handle, threads, batchTokens);

    public void Dispose() => model.Dispose();
}

/// <summary>A session of the library behind the pool's seam.</summary>
internal sealed unsafe class StellaPoolSession(ModelHandle model, int threads, int batchTokens) : IPoolSession
{
    private readonly SessionHandle handle = new(model, new NativeSessionOptions
    {
        size = (uint)sizeof(NativeSessionOptions),
        threads = (uint)threads,
        max_batch_tokens = (uint)batchTokens,
    });

    public void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows) =>
        handle.Embed(
            batch,
            new NativeEmbedOptions
            {
                size = (uint)sizeof(NativeEmbedOptions),
                dimension = (uint)kind.Dimension,
                raw = kind.Normalize ? 0u : 1u,
            },
            cancelFlag,
            rows);

    public void Dispose() => handle.Dispose();
}
