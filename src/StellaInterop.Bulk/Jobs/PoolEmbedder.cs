using System.Buffers;
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
    private int[] dimensions = [];
    private StellaEmbedOptions embedOptions = new();

    public async Task<EmbedderInfo> OpenAsync(CancellationToken cancellationToken)
    {
        StellaModelInfo info = await pool.WarmUpAsync(cancellationToken).ConfigureAwait(false);
        dimensions = options.Dimensions.Count == 0 ? [info.DefaultDimension] : [.. options.Dimensions];
        var fingerprints = new List<string>();
        foreach (int dimension in dimensions)
        {
            fingerprints.Add(await pool.GetFingerprintAsync(dimension, cancellationToken).ConfigureAwait(false));
        }

        embedOptions = new StellaEmbedOptions
        {
            Dimensions = dimensions,
            Prompt = options.Prompt,
            Normalize = options.Normalize,
            LongTextBehavior = options.LongTextBehavior,
        };
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

    /// <summary>Embeds some texts of a block.</summary>
    private async Task CallAsync(TextBlock block, Range texts, CancellationToken cancellationToken)
    {
        float[]? rows = null;
        try
        {
            (int begin, int count) = texts.GetOffsetAndLength(block.Texts.Length);
            int rowLength = dimensions.Sum();
            // The rows of one head are those of the block. Rows of several heads have their vectors side by side.
            Memory<float> destination = dimensions.Length == 1
                ? block.Vectors[0].AsMemory(begin * rowLength, count * rowLength)
                : (rows = ArrayPool<float>.Shared.Rent(count * rowLength)).AsMemory(0, count * rowLength);
            StellaCallSummary summary = await pool.EmbedAsync(
                block.Texts.AsMemory(begin, count),
                destination,
                block.TokenCounts.AsMemory(begin, count),
                embedOptions,
                CallOptions,
                cancellationToken).ConfigureAwait(false);
            if (rows is not null)
            {
                Separate(rows, block, begin, count);
            }

            foreach (StellaTextFailure failure in summary.Failures)
            {
                block.Faults[begin + failure.TextIndex] = FaultOf(failure.Error) ?? throw failure.Error;
            }
        }
        finally
        {
            if (rows is not null)
            {
                ArrayPool<float>.Shared.Return(rows);
            }

            _ = room.Release();
        }
    }

    /// <summary>Copies the vectors of each dimension from rows to the block.</summary>
    private void Separate(float[] rows, TextBlock block, int begin, int count)
    {
        int position = 0;
        for (int i = begin; i < begin + count; i++)
        {
            for (int head = 0; head < dimensions.Length; head++)
            {
                int dimension = dimensions[head];
                rows.AsSpan(position, dimension).CopyTo(block.Vectors[head].AsSpan(i * dimension));
                position += dimension;
            }
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
