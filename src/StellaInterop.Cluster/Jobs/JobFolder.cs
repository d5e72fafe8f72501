using System.Text.Json;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Begins and ends the work of a cluster in an output folder.</summary>
/// <remarks>
/// The submitter of a job creates the folder <c>_cluster</c>, and nobody else does. So a machine that lacks the shared folder notices, instead of
/// beginning the job anew on its own disk. Without <c>_cluster</c> no node can commit a part.
/// </remarks>
internal static class JobFolder
{
    /// <summary>The job as its first node pinned it.</summary>
    public const string JobFile = OutputNames.ClusterFolder + "/job.json";

    /// <summary>Makes the output folder of a job one of a cluster.</summary>
    /// <param name="job">The job.</param>
    /// <param name="isOpen">Whether the cluster works on the folder. Otherwise what another job has left there is deleted.</param>
    /// <exception cref="StellaBulkException">The folder holds something else, or parts of other settings, or cannot be written.</exception>
    public static void Begin(JobRequest job, bool isOpen = false)
    {
        using var folder = new DiskFolder(job.Output);
        OutputErrors.Guarded(job.Output, () =>
        {
            if (OutputOwner.ReadManifest(folder) is { } found)
            {
                OutputOwner.ThrowIfSettingsDiffer(folder, found, job.Settings);
            }

            if (!isOpen && folder.Exists(JobFile) && !IsOf(folder, job))
            {
                folder.DeleteFolder(OutputNames.ClusterFolder);
            }

            OutputOwner.CreateFolders(folder);
            folder.CreateFolder(OutputNames.ClusterFolder);
            folder.FlushFolder("");
            return true;
        });
    }

    /// <summary>Returns the folder whose deletion takes an output folder from the cluster.</summary>
    public static string ClusterFolderOf(string output) => Path.Combine(output, OutputNames.ClusterFolder);

    /// <summary>Returns whether a folder is one of a cluster.</summary>
    public static bool IsOfCluster(IOutputFolder folder) => folder.List("").Contains(OutputNames.ClusterFolder);

    /// <summary>Returns whether the pinned job of a folder is a job, but for the limit of rows at fault.</summary>
    private static bool IsOf(DiskFolder folder, JobRequest job)
    {
        try
        {
            using Stream content = folder.OpenRead(JobFile);
            return JsonSerializer.Deserialize(content, JobJson.Default.PinnedJob) is { } pinned
                && (pinned.Request with { MaxErrors = job.MaxErrors }).ToJson() == job.ToJson();
        }
        catch (Exception e) when (e is JsonException or FileNotFoundException)
        {
            return false;
        }
    }

    /// <summary>Takes an output folder from the cluster. Parts that nodes make now get no names.</summary>
    /// <returns><see langword="false"/> if the folder was not one of a cluster.</returns>
    /// <exception cref="StellaBulkException">The folder cannot be written.</exception>
    public static bool Release(string path)
    {
        using var folder = new DiskFolder(path);
        return OutputErrors.Guarded(path, () =>
        {
            bool isOfCluster = IsOfCluster(folder);
            folder.DeleteFolder(OutputNames.ClusterFolder);
            return isOfCluster;
        });
    }
}
