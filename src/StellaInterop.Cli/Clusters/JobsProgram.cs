using StellaInterop.Bulk;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cluster.Clients;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cli.Clusters;

/// <summary>Specifies what <c>stella jobs</c> does to a job.</summary>
internal enum JobChange
{
    Pause,
    Resume,
    Cancel,
    Remove,
}

/// <summary>Runs <c>stella jobs</c>.</summary>
internal static class JobsProgram
{
    /// <summary>Writes the jobs and the nodes to standard output.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> ListAsync(ClusterSettings settings, bool hasJson, CancellationToken cancellationToken)
    {
        ClusterStatus status = await ClusterConnection.UseAsync(settings, client => client.ListAsync(cancellationToken), cancellationToken).ConfigureAwait(false);
        if (hasJson)
        {
            using var json = new JsonRowWriter(RowFormat.JsonLines);
            json.Write(row => StatusJson.Write(row, status));
            json.Complete();
        }
        else
        {
            StatusTable.Write(status);
        }

        return (int)ExitCode.Success;
    }

    /// <summary>Changes a job.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> ChangeAsync(ClusterSettings settings, JobChange change, string output, CancellationToken cancellationToken)
    {
        string folder = JobRequest.FolderOf(output);
        bool isKnown;
        try
        {
            isKnown = await ClusterConnection.UseAsync(
                settings,
                client => change switch
                {
                    JobChange.Pause => client.WishAsync(folder, JobWish.Pause, cancellationToken),
                    JobChange.Resume => client.WishAsync(folder, JobWish.Run, cancellationToken),
                    JobChange.Cancel => client.WishAsync(folder, JobWish.Cancel, cancellationToken),
                    _ => client.RemoveAsync(folder, cancellationToken),
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (CliException e) when (change == JobChange.Remove && e.ExitCode == ExitCode.Network)
        {
            throw new CliException(e.ExitCode, $"{e.Message} If the cluster is gone for ever, delete the folder {JobFolder.ClusterFolderOf(folder)}: then `stella bulk` on one machine continues the job.", e.InnerException);
        }

        if (change == JobChange.Remove)
        {
            isKnown |= Release(folder);
        }

        return isKnown ? (int)ExitCode.Success
            : change == JobChange.Remove ? throw new CliException(ExitCode.Usage, $"The cluster has no job with the output folder {folder}, and the folder is not of a cluster. `stella jobs` lists the jobs.")
            : throw new CliException(ExitCode.Usage, $"No job with the output folder {folder} is open in the cluster. `stella jobs` lists the jobs; `stella bulk --cluster` continues one that has ended.");
    }

    private static bool Release(string folder)
    {
        try
        {
            return JobFolder.Release(folder);
        }
        catch (StellaBulkException e)
        {
            throw new CliException(ExitCode.Other, e.Message, e.InnerException);
        }
    }
}
