using System.Collections.Concurrent;
using StellaInterop.Interop;

namespace StellaInterop.Serving;

/// <summary>Loads the model of a pool from a folder.</summary>
internal sealed class StellaModelSource(string path, StellaModelOptions options) : IPoolModelSource
{
    /// <inheritdoc/>
    public string Name { get; } = StellaModel.NameOf(path, options);

    public StellaMemoryEstimate Estimate(int threads, int batchTokens) =>
        StellaModel.EstimateMemory(path, options, new StellaWorkload { Sessions = 1, Threads = threads, MaxBatchTokens = batchTokens });

    public IPoolModel Load() => new LoadedStellaModel(StellaModel.Load(path, options), ownsModel: true);
}

/// <summary>Provides a loaded model that the caller of the pool owns.</summary>
internal sealed class LoadedModelSource : IPoolModelSource
{
    private readonly StellaModel model;
    private readonly long sessionBytes;

    /// <param name="model">The model.</param>
    /// <param name="options">The options of the pool.</param>
    public LoadedModelSource(StellaModel model, StellaPoolOptions options)
    {
        this.model = model;
        // Estimated once, because the folder may be gone or replaced later, while the loaded model does not change.
        sessionBytes = EstimateSession(model, options.EffectiveThreads, Math.Max(options.MaxBatchTokens, model.Info.MaxTokens));
    }

    public string Name => model.Info.Name;

    public StellaModelInfo? Info => model.Info;

    public bool IsDisposed => model.IsDisposed;

    /// <summary>Estimates the memory of a worker. The memory budget already measures the model, because it is loaded.</summary>
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
            // The folder was removed or replaced after the load. This upper bound includes one call at its peak.
            return model.Info.MemoryEstimateBytes;
        }
    }
}

/// <summary>Adapts a loaded model to the interface of the pool.</summary>
internal sealed class LoadedStellaModel(StellaModel model, bool ownsModel) : IPoolModel
{
    /// <summary>The idle buffers of calls to the tokenizer: at most as many as calls have run at once.</summary>
    private readonly ConcurrentBag<TokenizerBuffers> idleBuffers = [];

    public StellaModelInfo Info => model.Info;

    public StellaModel Model => model;

    public void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens)
    {
        TokenizerBuffers buffers = idleBuffers.TryTake(out TokenizerBuffers? idle) ? idle : new TokenizerBuffers();
        foreach ((int start, TokenizedPack pack) in model.Tokenizer.Tokenize(texts, firstText, options, buffers))
        {
            // One array for the pack: the texts of a pack leave the queue at about the same time.
            ReadOnlyMemory<uint> ids = pack.AllTokens.ToArray();
            for (int i = 0; i < pack.Count; i++)
            {
                tokens[start + i] = new TokenizedText(ids[pack.RangeOf(i)], pack.CountOf(i), pack.LeftOutOf(i));
            }
        }

        buffers.Trim();
        idleBuffers.Add(buffers);
    }

    public string GetFingerprint(int? dimension) => model.GetFingerprint(dimension);

    public IPoolSession StartSession(int threads, int batchTokens) => new StellaPoolSession(new SessionHandle(model.Handle, threads, batchTokens));

    public void Dispose()
    {
        if (ownsModel)
        {
            model.Dispose();
        }
    }
}

/// <summary>Adapts a native session to the interface of the workers.</summary>
internal sealed class StellaPoolSession(SessionHandle session) : IPoolSession
{
    public void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows) =>
        session.Embed(batch, kind.Heads, kind.Normalize, firstTextIndex: 0, cancelFlag, rows);

    public void Dispose() => session.Dispose();
}
