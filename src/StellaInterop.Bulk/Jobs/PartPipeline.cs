using System.Threading.Channels;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Makes parts until none is left. Reading, computing and writing overlap.</summary>
/// <param name="setup">The job on this machine.</param>
/// <param name="output">Its output.</param>
/// <param name="model">The model.</param>
/// <param name="embedder">Computes the vectors.</param>
/// <param name="work">Gives the parts.</param>
internal sealed class PartPipeline(JobSetup setup, JobOutput output, EmbedderInfo model, IEmbedder embedder, IPartWork work)
{
    private readonly Channel<Piece> read = CreateChannel<Piece>();
    private readonly Channel<Piece> started = CreateChannel<Piece>();
    private readonly int blockRows = (int)Math.Min(
        setup.Parts.BlockRowsOf(model.Dimensions), output.Manifest.Plan.Chunks.Select(chunk => chunk.RowCount).DefaultIfEmpty(1).Max());

    private BlockPool? blocks;

    /// <exception cref="StellaBulkException">An input or the output is at fault.</exception>
    /// <exception cref="StellaException">The model failed.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        blocks = new BlockPool(blockRows);
        try
        {
            await Stages.RunAsync(cancellationToken, ReadAsync, ComputeAsync, WriteAsync).ConfigureAwait(false);
        }
        finally
        {
            // No call of the pool outlives the run.
            while (started.Reader.TryRead(out Piece? piece))
            {
                await piece.Computed.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ReadAsync(CancellationToken stop)
    {
        using var reader = new ChunkReader(setup.Files, setup.Columns, output.Manifest.Plan, setup.Copies, setup.Parts.Safeguards);
        while (await work.TakeAsync(stop).ConfigureAwait(false) is { } task)
        {
            var part = new PartInWork(task);
            Piece? last = null;
            foreach (List<RowInHand> rows in reader.Read(task.Part, blockRows))
            {
                stop.ThrowIfCancellationRequested();
                if (last is not null)
                {
                    await read.Writer.WriteAsync(last, stop).ConfigureAwait(false);
                }

                last = new Piece(part, task.IsRejected ? [.. rows.Select(Rejected)] : rows);
            }

            last!.IsLast = true;
            await read.Writer.WriteAsync(last, stop).ConfigureAwait(false);
        }

        read.Writer.Complete();
    }

    private async Task ComputeAsync(CancellationToken stop)
    {
        await foreach (Piece piece in read.Reader.ReadAllAsync(stop).ConfigureAwait(false))
        {
            PartInWork part = piece.Part;
            if (!part.IsGivenUp && !setup.Output(() => work.IsWanted(part.Task)))
            {
                // Another process made the part meanwhile, or its lease has ended.
                part.IsGivenUp = true;
                await work.GivenUpAsync(part.Task).ConfigureAwait(false);
            }

            if (!part.IsGivenUp)
            {
                piece.Start(embedder, model.Dimensions, blocks!, stop);
                try
                {
                    await started.Writer.WriteAsync(piece, stop).ConfigureAwait(false);
                }
                catch
                {
                    await piece.Computed.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                    throw;
                }
            }
        }

        started.Writer.Complete();
    }

    private async Task WriteAsync(CancellationToken stop)
    {
        ChunkWriter? writer = null;
        PartInWork? written = null;
        try
        {
            await foreach (Piece piece in started.Reader.ReadAllAsync(stop).ConfigureAwait(false))
            {
                PartTask task = piece.Part.Task;
                if (piece.Part != written && writer is { } givenUp)
                {
                    setup.Output(givenUp.Dispose);
                    writer = null;
                }

                written = piece.Part;
                await ComputedAsync(piece, stop).ConfigureAwait(false);
                work.Embedded(piece.Rows.Count, piece.Block!.TokenCounts.Sum(count => (long)count.Kept));
                setup.Output(() =>
                {
                    writer ??= new ChunkWriter(output.Begin(task.Part), setup.Format, setup.SchemaOf(model), model.MaxTokens);
                    writer.Write(piece.Rows, piece.Block);
                });
                foreach (float[] vectors in piece.Block.Vectors)
                {
                    blocks!.Return(vectors);
                }

                if (piece.IsLast)
                {
                    ChunkWriter complete = writer!;
                    (PartCounts counts, bool isCommitted) = setup.Output(() => complete.Commit(output, task.Claim));
                    writer = null;
                    setup.Output(complete.Dispose);
                    await work.DoneAsync(task, counts, isCommitted, complete.LastFault).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            writer?.Dispose();
        }
    }

    private async Task ComputedAsync(Piece piece, CancellationToken stop)
    {
        try
        {
            await piece.Computed.ConfigureAwait(false);
        }
        catch (Exception e) when (!stop.IsCancellationRequested)
        {
            work.Failed(piece.Part.Task, e);
            throw;
        }
    }

    private RowInHand Rejected(RowInHand row) => row.Row.Fault is null
        ? row with { Row = row.Row with { Text = null, Fault = row.Refusal(RowFaultKind.EndsProcess, model.MaxTokens) } }
        : row;

    private static Channel<T> CreateChannel<T>() => Channel.CreateBounded<T>(new BoundedChannelOptions(1)
    {
        SingleReader = true,
        SingleWriter = true,
    });
}
