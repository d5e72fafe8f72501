using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.Extensions.Options;

namespace StellaInterop.Samples.FileQueue;

/// <summary>Embeds job after job, in memory that does not grow with the size of a job.</summary>
internal sealed partial class QueueWorker(
    StellaEmbeddingPool pool,
    JobFolder jobs,
    IOptions<QueueOptions> options,
    IOptions<StellaEmbeddingsOptions> embeddings,
    TimeProvider time,
    ILogger<QueueWorker> logger) : BackgroundService
{
    private static readonly StellaCallOptions Bulk = new() { Priority = StellaPriority.Bulk, WhenFull = StellaWhenFull.Wait };

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (jobs.TakeBack() is > 0 and int left)
        {
            LogTakenBack(left);
        }

        while (!stoppingToken.IsCancellationRequested)
        {
            if (!jobs.TryTake(out string? job))
            {
                await Task.Delay(options.Value.Poll, time, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                continue;
            }

            try
            {
                LogDone(Path.GetFileName(job), await EmbedAsync(job, stoppingToken));
                jobs.Finish(job);
            }
            catch (StellaInputException e)
            {
                jobs.Fail(job, $"line {e.TextIndex + 1}: {e.Message}");
                LogFailed(Path.GetFileName(job), e.Message);
            }
            catch (Exception e)
            {
                // It is not the job's fault, or the process is to stop: another time it may go.
                jobs.Return(job);
                if (e is OperationCanceledException && stoppingToken.IsCancellationRequested)
                {
                    return;
                }

                // The host stops when a worker throws, and would end as if all were well.
                Environment.ExitCode = 1;
                throw;
            }
        }
    }

    private async Task<int> EmbedAsync(string job, CancellationToken cancelled)
    {
        var embedOptions = new StellaEmbedOptions { OnLongText = embeddings.Value.OnLongText };
        int rows = 0;
        await using FileStream file = File.Create(JobFolder.Draft(job));
        await foreach (StellaEmbedding embedding in pool.EmbedStreamAsync(File.ReadLinesAsync(job, cancelled), embedOptions, Bulk, cancelled))
        {
            await using (var json = new Utf8JsonWriter(file))
            {
                json.WriteStartObject();
                json.WriteNumber("line", ++rows);
                json.WriteBase64String("vector", MemoryMarshal.AsBytes(embedding.Vector.Span));
                json.WriteEndObject();
            }

            file.WriteByte((byte)'\n');
        }

        return rows;
    }

    [LoggerMessage(1, LogLevel.Information, "{Job}: {Rows} vectors")]
    private partial void LogDone(string job, int rows);

    [LoggerMessage(2, LogLevel.Warning, "{Job} is set aside: {Reason}")]
    private partial void LogFailed(string job, string reason);

    [LoggerMessage(3, LogLevel.Information, "{Count} jobs were begun before and are begun again")]
    private partial void LogTakenBack(int count);
}
