using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Computes vectors with a pool.</summary>
/// <remarks>
/// The pool shares its workers between calls, so blocks in whole calls would all end late. Blocks are cut into short calls, and a block begins
/// when the one before has begun all of its calls. So blocks end one after the other, while the workers always have work.
/// </remarks>
/// <param name="pool">The pool.</param>
/// <param name="options">The options of the job.</param>
/// <param name="callLength">The characters of a call, at which it ends.</param>
#pragma warning disable CA1001 // A semaphore without a wait handle has nothing to free.
internal sealed class PoolEmbedder(StellaEmbeddingPool pool, StellaBulkOptions options, int callLength = PoolEmbedder.UsualCallLength) : IEmbedder
#pragma warning restore CA1001
{
    /// <summary>A call that waits for room must have a time limit. This is the longest that the pool accepts.</summary>
    private static readonly TimeSpan LongestCall = new(23, 59, 59);

    private static readonly StellaCallOptions CallOptions = new()
    {
        Priority = StellaPriority.Bulk,
        QueueFullMode = StellaQueueFullMode.Wait,
        TextFailureMode = StellaTextFailureMode.Report,
        Timeout = LongestCall,
    };

    /// <summary>About four batches of a pool with the default options.</summary>
    internal const int UsualCallLength = 8192;

    private readonly SemaphoreSlim turn = new(1);
    private readonly SemaphoreSlim room = new(Math.Max(4, Environment.ProcessorCount / 4));
    private StellaEmbedOptions[] heads = [];

    public async Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken)
    {
        StellaModelInfo info = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
        int[] dimensions = options.Dimensions.Count == 0 ? [info.DefaultDimension] : [.. options.Dimensions];
        var fingerprints = new List<string>();
        foreach (int dimension in dimensions)
        {
            fingerprints.Add(await pool.GetFingerprintAsync(dimension, cancellationToken).ConfigureAwait(false));
        }

        heads =
        [
            .. dimensions.Select(dimension => new StellaEmbedOptions
            {
                Dimension = dimension,
                Prompt = options.Prompt,
                Normalize = options.Normalize,
                LongTextBehavior = options.LongTextBehavior,
            }),
        ];
        return new EmbedderInfo(dimensions, info.MaxTokens, info.Precision, fingerprints);
    }

    public async Task EmbedAsync(TextBlock block, CancellationToken cancellationToken)
    {
        var calls = new List<Task>();
        try
        {
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                for (int begin = 0, end; begin < block.Texts.Length; begin = end)
                {
                    end = EndOfCall(block.Texts, begin, callLength);
                    await room.WaitAsync(cancellationToken).ConfigureAwait(false);
                    calls.Add(CallAsync(block, begin..end, cancellationToken));
                }
            }
            finally
            {
                _ = turn.Release();
            }
        }
        finally
        {
            // No call may write into the block after this method.
            await Task.WhenAll(calls).ConfigureAwait(false);
        }
    }

    /// <summary>Embeds some texts of a block, with one call for each dimension.</summary>
    private async Task CallAsync(TextBlock block, Range texts, CancellationToken cancellationToken)
    {
        try
        {
            (int begin, int count) = texts.GetOffsetAndLength(block.Texts.Length);
            var calls = new Task<StellaCallSummary>[heads.Length];
            for (int i = 0; i < calls.Length; i++)
            {
                int dimension = heads[i].Dimension!.Value;
                calls[i] = pool.EmbedAsync(
                    block.Texts.AsMemory(begin, count),
                    block.Vectors[i].AsMemory(begin * dimension, count * dimension),
                    i == 0 ? block.TokenCounts.AsMemory(begin, count) : default,
                    heads[i],
                    CallOptions,
                    cancellationToken);
            }

            foreach (StellaCallSummary summary in await Task.WhenAll(calls).ConfigureAwait(false))
            {
                foreach (StellaTextFailure failure in summary.Failures)
                {
                    block.Faults[begin + failure.TextIndex] = FaultOf(failure.Error) ?? throw failure.Error;
                }
            }
        }
        finally
        {
            _ = room.Release();
        }
    }

    /// <summary>Returns the index after the last text of a call.</summary>
    internal static int EndOfCall(string[] texts, int begin, int callLength)
    {
        int end = begin;
        for (long length = 0; end < texts.Length && length < callLength; end++)
        {
            length += texts[end].Length;
        }

        return end;
    }

    /// <summary>Returns the fault of a text; <see langword="null"/> for an error that another run of the same text might not have.</summary>
    private static RowFaultKind? FaultOf(StellaException error) => error.Code switch
    {
        StellaErrorCode.TextNotUnicode => RowFaultKind.NotUnicode,
        StellaErrorCode.TextTooLong => RowFaultKind.TooManyTokens,
        StellaErrorCode.TextNotTokenized or StellaErrorCode.ResultNotFinite or StellaErrorCode.ResultZero => RowFaultKind.NoVector,
        _ => null,
    };
}
