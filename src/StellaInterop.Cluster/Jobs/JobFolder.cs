using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Begins and ends the work of a cluster in an output folder.</summary>
/// <remarks>
/// Whoever submits a job creates the folder <c>_cluster</c>, and nobody else does. So a machine that lacks the shared folder notices, instead of
/// beginning the job anew on its own disk. Without <c>_cluster</c> no node can commit a part.
/// </remarks>
internal static class JobFolder
{
    /// <summary>Makes the output folder of a job one of a cluster.</summary>
    /// <exception cref="StellaBulkException">The folder holds something else, or a job with other settings, or cannot be written.</exception>
    public static void Begin(JobRequest job)
    {
        using var folder = new DiskFolder(job.Output);
        OutputErrors.Guarded(job.Output, () =>
        {
            if (JobOutput.ReadManifest(folder) is { } found)
            {
                JobOutput.ThrowIfSettingsDiffer(folder, found, job.Settings);
            }

            JobOutput.CreateFolders(folder);
            folder.CreateFolder(OutputNames.ClusterFolder);
            folder.FlushFolder("");
            return true;
        });
    }

    /// <summary>Returns whether a folder is one of a cluster.</summary>
    public static bool IsOfCluster(IOutputFolder folder) => folder.List("").Contains(OutputNames.ClusterFolder);

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
