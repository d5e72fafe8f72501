using System.Globalization;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents one run of a job: plan or continue, embed chunk after chunk, check and complete.</summary>
internal sealed class BulkRun : IDisposable
{
    /// <summary>The rows of a call while the speed is measured.</summary>
    private const int MeasuredRows = 64;

    private readonly StellaBulkOptions options;
    private readonly JobSetup setup;
    private readonly IEmbedder embedder;
    private readonly ProgressMeter meter;
    private readonly Func<long> duplicates;

    public BulkRun(StellaBulkOptions options, JobParts parts, IProgress<StellaBulkProgress>? progress)
    {
        this.options = options;
        DeduplicatingEmbedder? deduplicating = options.Deduplicate ? new DeduplicatingEmbedder(parts.Embedder, parts.DuplicateBytes) : null;
        embedder = deduplicating ?? parts.Embedder;
        duplicates = () => deduplicating?.DuplicateCount ?? 0;
        meter = new ProgressMeter(progress, options.TimeProvider, duplicates);
        setup = new JobSetup(options, parts);
    }

    public void Dispose() => setup.Dispose();

    /// <summary>Makes the plan, or reads it from the output folder.</summary>
    /// <param name="measuringTime">The time for the measurement of the speed; zero for none.</param>
    /// <param name="cancellationToken">A token that stops the planning.</param>
    public async Task<StellaBulkPlan> PlanAsync(TimeSpan measuringTime, CancellationToken cancellationToken)
    {
        EmbedderInfo model = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        (JobManifest manifest, _) = setup.Prepare(model, keepsCopies: false, meter.Read, cancellationToken);
        BulkPlan plan = manifest.Plan;
        PartSet committed = setup.Output(() => new OutputFiles(setup.Folder, plan, setup.Format.ExtensionsOf(setup.SchemaOf(model)), Safeguards.All).ReadCommitted());
        PartId[] missing = [.. committed.Missing()];
        PartId[] open = [.. missing.Where(part => part.Chunk % options.ShardCount == options.Shard - 1)];
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
            CommittedChunkCount = plan.Chunks.Count - missing.Select(part => part.Chunk).Distinct().Count(),
            EstimatedTime = speed is { } tokensPerSecond ? TimeSpan.FromSeconds(open.Sum(part => part.ShareOf(plan.Chunks[part.Chunk].Tokens, plan.Chunks[part.Chunk].RowCount)) / tokensPerSecond) : null,
            EstimatedVectorBytes = plan.RowCount * model.Dimensions.Sum(VectorBytes),
            Dimensions = model.Dimensions,
            Settings = plan.Settings,
            Hash = plan.Hash,
        };
    }

    /// <summary>Embeds the first rows of a part and forgets them.</summary>
    /// <returns>The estimated tokens in a second; <see langword="null"/> if the rows have no texts.</returns>
    private async Task<double?> MeasureAsync(BulkPlan plan, PartId part, EmbedderInfo model, TimeSpan time, CancellationToken cancellationToken)
    {
        var blocks = new BlockPool(MeasuredRows);
        using var reader = new ChunkReader(setup.Files, setup.Columns, plan, setup.Copies, setup.Parts.Safeguards);
        long tokens = 0;
        TimeSpan elapsed = TimeSpan.Zero;
        int count = 0;
        foreach (List<RowInHand> rows in reader.Read(part, MeasuredRows))
        {
            var piece = new Piece(new PartInWork(new PartTask(part)), rows);
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
        setup.Output(() => OutputOwner.ThrowIfOfCluster(setup.Folder));
        setup.Output(() => OutputOwner.CreateFolders(setup.Folder));
        (JobManifest manifest, IReadOnlyList<FileStamp> stamps) = setup.Prepare(model, keepsCopies: true, meter.Read, cancellationToken);
        JobOutput output = setup.OpenOutput(manifest, model);
        BulkPlan plan = output.Manifest.Plan;
        PartSet committed = setup.Output(output.ReadCommitted);
        meter.Begin(plan, committed, setup.Output(() => output.CountErrors(committed)));
        ThrowIfTooManyErrors(lastFault: null);
        IReadOnlyList<PartRecord>? records;
        do
        {
            var queue = new ChunkQueue(output, committed, options.Shard - 1, options.ShardCount, setup.Parts.Random);
            await new PartPipeline(setup, output, model, embedder, new OwnWork(this, output, queue)).RunAsync(cancellationToken).ConfigureAwait(false);
            stamps = InputCheck.Check(setup.Files, plan.Files, stamps, cancellationToken);
            records = setup.Output(() => output.TryComplete(meter.Checked, cancellationToken));
            committed = setup.Output(output.ReadCommitted);
        }
        while (records is null && options.ShardCount == 1); // A part was deleted during the run.
        if (records is not null)
        {
            setup.Output(setup.Copies.Delete);
        }

        PartCounts? sum = records?.Aggregate(default(PartCounts), (total, record) => total + record.Counts);
        return new StellaBulkResult
        {
            IsComplete = records is not null,
            ChunkCount = plan.Chunks.Count,
            OpenChunkCount = records is null ? committed.Missing().Select(part => part.Chunk).Distinct().Count() : 0,
            CommittedChunkCount = meter.CommittedCount,
            RowCount = sum?.Rows,
            TokenCount = sum?.Tokens,
            TruncatedRowCount = sum?.Truncated,
            ErrorCount = sum?.Errors ?? meter.ErrorCount,
            DuplicateCount = duplicates(),
            Elapsed = options.TimeProvider.GetElapsedTime(start),
        };
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

    private long VectorBytes(int dimension) => options.VectorType switch
    {
        StellaBulkVectorType.Float32 => sizeof(float) * (long)dimension,
        StellaBulkVectorType.Half => sizeof(short) * (long)dimension,
        StellaBulkVectorType.Int8 => dimension + sizeof(float),
        _ => StellaInterop.Vectors.Quantization.GetBinaryLength(dimension),
    };

    /// <summary>Gives a pipeline the parts of this process.</summary>
    private sealed class OwnWork(BulkRun run, JobOutput output, ChunkQueue queue) : IPartWork
    {
        public ValueTask<PartTask?> TakeAsync(CancellationToken stop) =>
            ValueTask.FromResult(run.setup.Output(queue.Take) is { } part ? new PartTask(part) : null);

        public bool IsWanted(PartTask task) => !output.IsCommitted(task.Part);

        public ValueTask GivenUpAsync(PartTask task)
        {
            run.meter.Done(task.Part, errorCount: 0, isOwn: false);
            run.setup.Output(queue.Jump);
            return ValueTask.CompletedTask;
        }

        public void Embedded(int rows, long tokens) => run.meter.Embedded(rows, tokens);

        public void Failed(PartTask task, Exception error)
        {
            // The run ends with the error.
        }

        public ValueTask DoneAsync(PartTask task, PartCounts counts, bool isCommitted, string? lastFault)
        {
            run.meter.Done(task.Part, counts.Errors, isCommitted);
            if (!isCommitted)
            {
                run.setup.Output(queue.Jump);
            }

            run.ThrowIfTooManyErrors(lastFault);
            return ValueTask.CompletedTask;
        }
    }
}
