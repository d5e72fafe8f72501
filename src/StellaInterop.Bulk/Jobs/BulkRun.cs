using System.Globalization;
using System.Threading.Channels;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents one run of a job: plan or continue, embed chunk after chunk, check and complete.</summary>
internal sealed class BulkRun : IDisposable
{
    /// <summary>The rows of a call while the speed is measured.</summary>
    private const int MeasuredRows = 64;

    private readonly StellaBulkOptions options;
    private readonly JobParts parts;
    private readonly IEmbedder embedder;
    private readonly IOutputFolder folder;
    private readonly IPartFormat format;
    private readonly IReadOnlyList<InputFile> files;
    private readonly ProgressMeter meter;
    private readonly Func<long> duplicates;
    private readonly InputColumns columns;
    private readonly InputCopies copies;

    public BulkRun(StellaBulkOptions options, JobParts parts, IProgress<StellaBulkProgress>? progress)
    {
        this.options = options;
        this.parts = parts;
        DeduplicatingEmbedder? deduplicating = options.Deduplicate ? new DeduplicatingEmbedder(parts.Embedder, parts.DuplicateBytes) : null;
        embedder = deduplicating ?? parts.Embedder;
        duplicates = () => deduplicating?.DuplicateCount ?? 0;
        meter = new ProgressMeter(progress, options.TimeProvider, duplicates);
        columns = new InputColumns(options.TextColumn, options.IdColumn);
        format = parts.FormatOf(options.Format);
        files = InputSet.Find(options.Inputs, options.Output, InputFormats.Of(options.InputFormat) is { } named ? _ => named : parts.FindFormat);
        folder = parts.OpenFolder(options.Output);
        copies = new InputCopies(folder);
    }

    public void Dispose() => folder.Dispose();

    /// <summary>Makes the plan, or reads it from the output folder.</summary>
    /// <param name="measuringTime">The time for the measurement of the speed; zero for none.</param>
    /// <param name="cancellationToken">A token that stops the planning.</param>
    public async Task<StellaBulkPlan> PlanAsync(TimeSpan measuringTime, CancellationToken cancellationToken)
    {
        EmbedderInfo model = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        (JobManifest manifest, _) = Prepare(model, copy: null, cancellationToken);
        BulkPlan plan = manifest.Plan;
        string extension = format.ExtensionsOf(SchemaOf(model))[^1];
        HashSet<string> names = [.. Output(() => folder.List(""))];
        bool[] committed = [.. plan.Chunks.Select((_, i) => names.Contains(OutputNames.PartOf(plan.ShortHash, i) + extension))];
        int[] open = [.. Enumerable.Range(0, committed.Length).Where(i => !committed[i] && i % options.ShardCount == options.Shard - 1)];
        double? speed = measuringTime > TimeSpan.Zero && open.Length > 0
            ? await MeasureAsync(plan, open[0], model, measuringTime, cancellationToken).ConfigureAwait(false)
            : null;
        return new StellaBulkPlan
        {
            FileCount = plan.Files.Count,
            ByteCount = plan.Files.Sum(file => file.Length),
            RowCount = plan.RowCount,
            EstimatedTokenCount = plan.Tokens,
            ChunkCount = plan.Chunks.Count,
            CommittedChunkCount = committed.Count(isCommitted => isCommitted),
            EstimatedTime = speed is { } tokensPerSecond ? TimeSpan.FromSeconds(open.Sum(i => plan.Chunks[i].Tokens) / tokensPerSecond) : null,
            EstimatedVectorBytes = plan.RowCount * model.Dimensions.Sum(VectorBytes),
            Dimensions = model.Dimensions,
            Settings = plan.Settings,
            Hash = plan.Hash,
        };
    }

    /// <summary>Embeds the first rows of a chunk and forgets them.</summary>
    /// <returns>The estimated tokens in a second; <see langword="null"/> if the rows have no texts.</returns>
    private async Task<double?> MeasureAsync(BulkPlan plan, int chunk, EmbedderInfo model, TimeSpan time, CancellationToken cancellationToken)
    {
        var blocks = new BlockPool(MeasuredRows);
        using var reader = new ChunkReader(files, columns, plan, copies, parts.Safeguards);
        long tokens = 0;
        TimeSpan elapsed = TimeSpan.Zero;
        int count = 0;
        foreach (List<RowInHand> rows in reader.Read(chunk, MeasuredRows))
        {
            var piece = new Piece(new ChunkInHand(chunk), rows);
            long start = options.TimeProvider.GetTimestamp();
            piece.Start(embedder, model.Dimensions, blocks, cancellationToken);
            await piece.Computed.ConfigureAwait(false);
            if (count++ == 1)
            {
                // The first call of a model is slower than the others, so it counts only if it is the only one.
                (tokens, elapsed) = (0, TimeSpan.Zero);
            }

            tokens += rows.Sum(row => TokenEstimate.Of(row.Row, model.MaxTokens));
            elapsed += options.TimeProvider.GetElapsedTime(start);
            if (elapsed >= time)
            {
                break;
            }
        }

        return elapsed > TimeSpan.Zero ? tokens / elapsed.TotalSeconds : null;
    }

    public async Task<StellaBulkResult> RunAsync(CancellationToken cancellationToken)
    {
        long start = options.TimeProvider.GetTimestamp();
        EmbedderInfo model = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        Output(() => JobOutput.CreateFolders(folder));
        (JobManifest manifest, IReadOnlyList<FileStamp> stamps) = Prepare(model, copies.Begin, cancellationToken);
        JobOutput output = Output(() => JobOutput.Open(folder, manifest, format.ExtensionsOf(SchemaOf(model)), parts.Safeguards));
        BulkPlan plan = output.Manifest.Plan;
        bool[] committed = Output(output.ReadCommitted);
        meter.Begin(plan, committed, Output(() => output.CountErrors(committed)));
        ThrowIfTooManyErrors(lastFault: null);
        IReadOnlyList<PartRecord>? records;
        do
        {
            var queue = new ChunkQueue(output, committed, options.Shard - 1, options.ShardCount, parts.Random);
            await EmbedAsync(output, queue, model, cancellationToken).ConfigureAwait(false);
            stamps = InputCheck.Check(files, plan.Files, stamps, cancellationToken);
            records = Output(() => output.TryComplete(meter.Checked, cancellationToken));
            committed = Output(output.ReadCommitted);
        }
        while (records is null && options.ShardCount == 1); // A part was deleted during the run.
        if (records is not null)
        {
            Output(copies.Delete);
        }

        PartCounts? sum = records?.Aggregate(default(PartCounts), (total, record) => total + record.Counts);
        return new StellaBulkResult
        {
            IsComplete = records is not null,
            ChunkCount = plan.Chunks.Count,
            OpenChunkCount = records is null ? committed.Count(isCommitted => !isCommitted) : 0,
            CommittedChunkCount = meter.CommittedCount,
            RowCount = sum?.Rows,
            TokenCount = sum?.Tokens,
            TruncatedRowCount = sum?.Truncated,
            ErrorCount = sum?.Errors ?? meter.ErrorCount,
            DuplicateCount = duplicates(),
            Elapsed = options.TimeProvider.GetElapsedTime(start),
        };
    }

    private PreparedJob Prepare(EmbedderInfo model, Func<Stream, CopyingStream>? copy, CancellationToken cancellationToken)
    {
        IReadOnlyList<KeyValuePair<string, string>> settings = JobSettings.Of(options, model, parts.Safeguards);
        var scan = new PlanScan(files, columns, options.ChunkTokens, model.MaxTokens, copy);
        return Output(() => PreparedJob.Create(folder, settings, scan, meter.Read, parts.Safeguards, cancellationToken));
    }

    /// <summary>Embeds chunks until none is left. Reading, computing and writing overlap.</summary>
    private async Task EmbedAsync(JobOutput output, ChunkQueue queue, EmbedderInfo model, CancellationToken cancellationToken)
    {
        long chunkRows = output.Manifest.Plan.Chunks.Select(chunk => chunk.RowCount).DefaultIfEmpty(1).Max();
        int blockRows = (int)Math.Min(parts.BlockRowsOf(model.Dimensions), chunkRows);
        var blocks = new BlockPool(blockRows);
        Channel<Piece> read = CreateChannel<Piece>();
        Channel<Piece> started = CreateChannel<Piece>();
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

        async Task ReadAsync(CancellationToken stop)
        {
            using var reader = new ChunkReader(files, columns, output.Manifest.Plan, copies, parts.Safeguards);
            while (Output(queue.Take) is { } index)
            {
                var chunk = new ChunkInHand(index);
                Piece? last = null;
                foreach (List<RowInHand> rows in reader.Read(index, blockRows))
                {
                    stop.ThrowIfCancellationRequested();
                    if (last is not null)
                    {
                        await read.Writer.WriteAsync(last, stop).ConfigureAwait(false);
                    }

                    last = new Piece(chunk, rows);
                }

                last!.IsLast = true;
                await read.Writer.WriteAsync(last, stop).ConfigureAwait(false);
            }

            read.Writer.Complete();
        }

        async Task ComputeAsync(CancellationToken stop)
        {
            await foreach (Piece piece in read.Reader.ReadAllAsync(stop).ConfigureAwait(false))
            {
                ChunkInHand chunk = piece.Chunk;
                if (!chunk.IsStarted && Output(() => output.IsCommitted(chunk.Index)))
                {
                    // Another process made the part while the rows were read.
                    chunk.IsGivenUp = true;
                    meter.Done(chunk.Index, errorCount: 0, isOwn: false);
                    Output(queue.Jump);
                }

                chunk.IsStarted = true;
                if (!chunk.IsGivenUp)
                {
                    piece.Start(embedder, model.Dimensions, blocks, stop);
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

        async Task WriteAsync(CancellationToken stop)
        {
            ChunkWriter? writer = null;
            try
            {
                await foreach (Piece piece in started.Reader.ReadAllAsync(stop).ConfigureAwait(false))
                {
                    await piece.Computed.ConfigureAwait(false);
                    int index = piece.Chunk.Index;
                    meter.Embedded(piece.Rows.Count, piece.Block!.TokenCounts.Sum(count => (long)count.Kept));
                    Output(() =>
                    {
                        writer ??= new ChunkWriter(output.Begin(index), format, SchemaOf(model), model.MaxTokens);
                        writer.Write(piece.Rows, piece.Block);
                    });
                    foreach (float[] vectors in piece.Block.Vectors)
                    {
                        blocks.Return(vectors);
                    }

                    if (piece.IsLast)
                    {
                        ChunkWriter complete = writer!;
                        (PartCounts counts, bool isCommitted) = Output(() => complete.Commit(output));
                        writer = null;
                        Output(complete.Dispose);
                        meter.Done(index, counts.Errors, isCommitted);
                        if (!isCommitted)
                        {
                            Output(queue.Jump);
                        }

                        ThrowIfTooManyErrors(complete.LastFault);
                    }
                }
            }
            finally
            {
                writer?.Dispose();
            }
        }
    }

    private void ThrowIfTooManyErrors(string? lastFault)
    {
        if (meter.ErrorCount > options.MaxErrors)
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.TooManyErrors,
                string.Create(CultureInfo.InvariantCulture, $"{meter.ErrorCount} rows are at fault, and the limit is {options.MaxErrors}")
                + (lastFault is null ? ". " : $"; the last is {lastFault} ")
                + $"The rows are in '{OutputNames.ErrorsFolder}' of the output folder. Mend the input and begin anew, or run again with a higher limit.");
        }
    }

    private PartSchema SchemaOf(EmbedderInfo model) => new(model.Dimensions, options.VectorType);

    private long VectorBytes(int dimension) => options.VectorType switch
    {
        StellaBulkVectorType.Float32 => sizeof(float) * (long)dimension,
        StellaBulkVectorType.Half => sizeof(short) * (long)dimension,
        StellaBulkVectorType.Int8 => dimension + sizeof(float),
        _ => StellaInterop.Vectors.Quantization.GetBinaryLength(dimension),
    };

    private T Output<T>(Func<T> action) => OutputErrors.Guarded(folder.Path, action);

    private void Output(Action action) => OutputErrors.Guarded(folder.Path, () =>
    {
        action();
        return true;
    });

    private static Channel<T> CreateChannel<T>() => Channel.CreateBounded<T>(new BoundedChannelOptions(1)
    {
        SingleReader = true,
        SingleWriter = true,
    });

    /// <summary>Represents a chunk between reading and writing.</summary>
    private sealed class ChunkInHand(int index)
    {
        public int Index { get; } = index;

        public bool IsStarted { get; set; }

        public bool IsGivenUp { get; set; }
    }

    /// <summary>Represents rows of a chunk that are embedded together.</summary>
    private sealed class Piece(ChunkInHand chunk, List<RowInHand> rows)
    {
        public ChunkInHand Chunk { get; } = chunk;

        public List<RowInHand> Rows { get; } = rows;

        /// <summary>Gets or sets whether the chunk has no rows after these.</summary>
        public bool IsLast { get; set; }

        public TextBlock? Block { get; private set; }

        public Task Computed { get; private set; } = Task.CompletedTask;

        public void Start(IEmbedder embedder, IReadOnlyList<int> dimensions, BlockPool blocks, CancellationToken cancellationToken)
        {
            string[] texts = [.. Rows.Where(row => row.Row.Fault is null).Select(row => row.Row.Text!)];
            Block = new TextBlock(texts, [.. dimensions.Select(dimension => blocks.Rent(dimension))]);
            if (texts.Length > 0)
            {
                Computed = embedder.EmbedAsync(Block, cancellationToken);
            }
        }
    }
}
