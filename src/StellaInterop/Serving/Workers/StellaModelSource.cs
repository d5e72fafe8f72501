using System.Collections.Concurrent;
using StellaInterop.Interop;

namespace StellaInterop.Serving;

/// <summary>A model in a folder.</summary>
internal sealed class StellaModelSource(string path, StellaModelOptions options) : IPoolModelSource
{
    /// <inheritdoc/>
    public string Name { get; } = StellaModel.NameOf(path, options);

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) =>
        StellaModel.EstimateMemory(path, options, new StellaWorkload { Sessions = 1, Threads = threads, MaxBatchTokens = batchTokens });

    public IPoolModel Load() => new LoadedStellaModel(StellaModel.Load(path, options), ownsModel: true);
}

/// <summary>A loaded model that belongs to the caller of the pool.</summary>
internal sealed class LoadedModelSource : IPoolModelSource
{
    private readonly StellaModel model;
    private readonly long sessionBytes;

    /// <param name="model">The model.</param>
    /// <param name="options">The options of the pool.</param>
    public LoadedModelSource(StellaModel model, StellaPoolOptions options)
    {
        this.model = model;
        // Estimated now: the folder may be deleted or replaced later, while the loaded model stays as it is.
        sessionBytes = EstimateSession(model, options.EffectiveThreads, Math.Max(options.MaxBatchTokens, model.Info.MaxTokens));
    }

    public string Name => model.Info.Name;

    public StellaModelInfo? Info => model.Info;

    public bool IsDisposed => model.IsDisposed;

    /// <summary>Estimates the memory of a worker. The model is already in memory, where the budget measures it.</summary>
    public StellaMemoryEstimate Estimate(int threads, int batchTokens)
    {
        model.ThrowIfDisposed();
        return new StellaMemoryEstimate
        {
            WeightsBytes = 0,
            TokenizerBytes = 0,
            LoadingBytes = 0,
            SessionBytes = sessionBytes,
            TotalBytes = sessionBytes,
        };
    }

    public IPoolModel Load()
    {
        model.ThrowIfDisposed();
        return new LoadedStellaModel(model, ownsModel: false);
    }

    private static long EstimateSession(StellaModel model, int threads, int batchTokens)
    {
        try
        {
            var workload = new StellaWorkload { Sessions = 1, Threads = threads, MaxBatchTokens = batchTokens };
            return StellaModel.EstimateMemory(model.Info.Path, model.Options, workload).SessionBytes;
        }
        catch (StellaException)
        {
            // The folder was deleted or replaced since the load. This bound includes the peak of one call.
            return model.Info.MemoryEstimateBytes;
        }
    }
}

/// <summary>Lets a pool use a <see cref="StellaModel"/>.</summary>
internal sealed class LoadedStellaModel(StellaModel model, bool ownsModel) : IPoolModel
{
    /// <summary>The buffers of the tokenizer that no call uses now. Each concurrent call takes one.</summary>
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
            pack.Fill(texts[first..], firstText + first, options.InvalidTextBehavior, model.Condenser);
            packTokens.Fill(model.Handle, pack, options, Info);
            // One array for the pack: the texts of a pack leave the queue at about the same time.
            ReadOnlyMemory<uint> ids = packTokens.AllTokens.ToArray();
            for (int i = 0; i < pack.Count; i++)
            {
                tokens[first + i] = new TokenizedText(
                    ids[packTokens.RangeOf(i)], packTokens.CountOf(i, pack.Replaced[i]), packTokens.LeftOutOf(i));
            }
        }

        pack.Trim();
        buffers.Add(buffer);
    }

    public string GetFingerprint(int? dimension) => model.GetFingerprint(dimension);

    public IPoolSession StartSession(int threads, int batchTokens) => new StellaPoolSession(model.Handle, threads, batchTokens);

    public void Dispose()
    {
        if (ownsModel)
        {
            model.Dispose();
        }
    }
}

/// <summary>Lets a worker use a native session.</summary>
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
