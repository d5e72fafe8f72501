using StellaInterop.Bulk;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Jobs;

/// <summary>Runs the job of <c>stella bulk</c>. Only this folder of the command line, and that of clusters, use StellaInterop.Bulk.</summary>
internal static class BulkProgram
{
    /// <summary>The exit code of an output that is complete and has rows at fault.</summary>
    internal const int CompleteWithErrors = 6;
    private const int TooManyErrors = 7;

    /// <summary>The time in which a dry run measures the speed of the model.</summary>
    private static readonly TimeSpan MeasuringTime = TimeSpan.FromSeconds(2);

    /// <summary>Runs the job to its end.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(BulkSettings settings, CancellationToken cancellationToken)
    {
        StellaBulkOptions options = GetOptions(settings);
        var report = new BulkReport(settings);
        await using (report.ConfigureAwait(false))
        {
            return await RunAsync(settings, options, report, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<int> RunAsync(BulkSettings settings, StellaBulkOptions options, BulkReport report, CancellationToken cancellationToken)
    {
        StellaEmbeddingPool pool = settings.CreatePool(report.WriteMessage);
        await using (pool.ConfigureAwait(false))
        {
            var job = new StellaBulkJob(pool, options);
            try
            {
                if (settings.IsDryRun)
                {
                    report.WritePlan(await job.PlanAsync(MeasuringTime, report, cancellationToken).ConfigureAwait(false), options);
                    return (int)ExitCode.Success;
                }

                StellaBulkResult result = await job.RunAsync(report, cancellationToken).ConfigureAwait(false);
                report.WriteResult(result, options.Output);
                return result.ErrorCount > 0 ? CompleteWithErrors : (int)ExitCode.Success;
            }
            catch (StellaBulkException e)
            {
                throw new CliException((ExitCode)GetExitCode(e.Code), e.Message, e.InnerException);
            }
        }
    }

    /// <summary>Returns the exit code of an error.</summary>
    internal static int GetExitCode(StellaBulkErrorCode code) => code switch
    {
        StellaBulkErrorCode.NoInput or StellaBulkErrorCode.SettingsDiffer or StellaBulkErrorCode.OutputRefused => (int)ExitCode.Usage,
        StellaBulkErrorCode.InputUnreadable or StellaBulkErrorCode.InputChanged => (int)ExitCode.BadInput,
        StellaBulkErrorCode.TooManyErrors => TooManyErrors,
        _ => (int)ExitCode.Other,
    };

    /// <summary>Returns the options of the library.</summary>
    internal static StellaBulkOptions GetOptions(BulkSettings settings)
    {
        var options = new StellaBulkOptions
        {
            Inputs = settings.Inputs,
            Output = settings.Output,
            InputFormat = settings.InputFormat switch
            {
                BulkInputFormat.JsonLines => StellaBulkInputFormat.JsonLines,
                BulkInputFormat.Csv => StellaBulkInputFormat.Csv,
                BulkInputFormat.Tsv => StellaBulkInputFormat.Tsv,
                BulkInputFormat.Parquet => StellaBulkInputFormat.Parquet,
                BulkInputFormat.Text => StellaBulkInputFormat.Text,
                _ => StellaBulkInputFormat.Auto,
            },
            TextColumn = settings.TextColumn,
            IdColumn = settings.IdColumn,
            Format = settings.Format switch
            {
                PartFormat.Parquet => StellaBulkFormat.Parquet,
                PartFormat.JsonLines => StellaBulkFormat.JsonLines,
                _ => StellaBulkFormat.Npy,
            },
            VectorType = settings.VectorType switch
            {
                OutputType.Float32 => StellaBulkVectorType.Float32,
                OutputType.Half => StellaBulkVectorType.Half,
                OutputType.Int8 => StellaBulkVectorType.Int8,
                _ => StellaBulkVectorType.Binary,
            },
            Dimensions = settings.Dimensions,
            Prompt = settings.Prompt,
            LongTextBehavior = settings.LongTextBehavior,
            Normalize = !settings.IsRaw,
            Deduplicate = settings.Deduplicates,
            MaxErrors = settings.MaxErrors,
            Shard = settings.Shard.Number,
            ShardCount = settings.Shard.Count,
        };
        return settings.ChunkTokens is { } tokens ? options with { ChunkTokens = tokens } : options;
    }
}
