using StellaInterop.Bulk;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Jobs;
using StellaInterop.Cli.Options;
using StellaInterop.Cluster.Clients;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cli.Clusters;

/// <summary>Runs <c>stella bulk --cluster</c>: submits a job, and follows it.</summary>
internal static class ClusterBulkProgram
{
    /// <summary>Submits the job, and follows it to its end.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(BulkSettings settings, ClusterSettings cluster, CancellationToken cancellationToken)
    {
        StellaBulkOptions options = BulkProgram.GetOptions(settings);
        // A wrong address is an error before a model is loaded.
        _ = ClusterConnection.AddressOf(cluster);
        var report = new BulkReport(settings);
        await using (report.ConfigureAwait(false))
        {
            try
            {
                JobRequest request = await CreateRequestAsync(settings, options, report, cancellationToken).ConfigureAwait(false);
                var following = new JobFollowing(cluster, request, report, settings.IsQuiet);
                await using (following.ConfigureAwait(false))
                {
                    return await RunAsync(following, report, options.Output, cancellationToken).ConfigureAwait(false);
                }
            }
            catch (ClusterException e)
            {
                throw ClusterConnection.Refusal(e);
            }
            catch (StellaBulkException e)
            {
                throw new CliException((ExitCode)BulkProgram.GetExitCode(e.Code), e.Message, e.InnerException);
            }
        }
    }

    private static async Task<int> RunAsync(JobFollowing following, BulkReport report, string output, CancellationToken cancellationToken)
    {
        try
        {
            await following.SubmitAsync(cancellationToken).ConfigureAwait(false);
            StellaBulkResult result = await following.RunAsync(cancellationToken).ConfigureAwait(false);
            report.WriteResult(result, output, $"It was followed for {BulkReport.Time(result.Elapsed)}.");
            return result.ErrorCount > 0 ? BulkProgram.CompleteWithErrors : (int)ExitCode.Success;
        }
        catch (OperationCanceledException) when (following.IsSubmitted)
        {
            report.WriteMessage("The job goes on in the cluster. The same command follows it again, and `stella jobs cancel` ends it.");
            throw;
        }
    }

    private static async Task<JobRequest> CreateRequestAsync(BulkSettings settings, StellaBulkOptions options, BulkReport report, CancellationToken cancellationToken)
    {
        StellaEmbeddingPool pool = settings.CreatePool(report.WriteMessage);
        await using (pool.ConfigureAwait(false))
        {
            return await SubmittedJob.CreateRequestAsync(pool, options, cancellationToken).ConfigureAwait(false);
        }
    }
}
