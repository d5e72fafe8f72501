using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Tells which job an output folder is of, and refuses the folders of others.</summary>
internal static class OutputOwner
{
    /// <summary>Reads the manifest of a folder.</summary>
    /// <returns><see langword="null"/> if the folder is empty or does not exist, so that a job can begin in it.</returns>
    /// <exception cref="StellaBulkException">The folder holds something else, or the manifest is damaged.</exception>
    public static JobManifest? ReadManifest(IOutputFolder folder)
    {
        if (folder.Exists(OutputNames.Manifest))
        {
            try
            {
                using Stream content = folder.OpenRead(OutputNames.Manifest);
                return JobManifest.Read(content);
            }
            catch (InvalidDataException e)
            {
                throw new StellaBulkException(
                    StellaBulkErrorCode.OutputDamaged,
                    $"The file '{OutputNames.Manifest}' in the output folder '{folder.Path}' {e.Message}. Bring it back, or name another output folder.",
                    e);
            }
        }

        // Folders of a job that was killed before it had a plan.
        string? other = folder.List("").FirstOrDefault(name => !OutputNames.Folders.Contains(name) && name != OutputNames.ClusterFolder && name[0] != '.');
        return other is null || folder.Exists(OutputNames.Manifest)
            ? null
            : throw new StellaBulkException(
                StellaBulkErrorCode.OutputRefused,
                $"The output folder '{folder.Path}' holds '{other}' and is not of a bulk job. Name an empty folder, or one that does not exist.");
    }

    /// <summary>Creates the folders of a job. A folder that cannot hold one is then known before the inputs are read.</summary>
    /// <exception cref="StellaBulkException">The folder holds something else.</exception>
    public static void CreateFolders(IOutputFolder folder)
    {
        if (!folder.Exists(OutputNames.Manifest))
        {
            _ = ReadManifest(folder);
        }

        foreach (string name in (string[])["", .. OutputNames.Folders])
        {
            folder.CreateFolder(name);
        }
    }

    /// <summary>Checks that no cluster works on a folder: its leases tell nodes apart, and a process without a lease would be in their way.</summary>
    /// <exception cref="StellaBulkException">The folder is of a cluster.</exception>
    public static void ThrowIfOfCluster(IOutputFolder folder)
    {
        if (folder.List("").Contains(OutputNames.ClusterFolder))
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.OutputRefused,
                $"A cluster works on the output folder '{folder.Path}'. Follow the job with --cluster, or take it from the cluster with 'stella jobs remove' and run it here.");
        }
    }

    /// <summary>Checks that a job may continue in a folder with a manifest.</summary>
    /// <exception cref="StellaBulkException">The manifest is that of a job with other settings.</exception>
    public static void ThrowIfSettingsDiffer(
        IOutputFolder folder, JobManifest manifest, IReadOnlyList<KeyValuePair<string, string>> settings, Safeguards safeguards = Safeguards.All)
    {
        string[] differences = [.. BulkPlan.Differences(settings, manifest.Plan.Settings)];
        if (differences.Length > 0 && safeguards.HasFlag(Safeguards.PlanHash))
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.SettingsDiffer,
                $"The output folder '{folder.Path}' belongs to a job with other settings: {string.Join("; ", differences)}. "
                + "Run the job with its settings, or name another output folder.");
        }
    }
}
