using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents a job whose plan is known: new, or that of the output folder.</summary>
/// <param name="Manifest">The manifest.</param>
/// <param name="Stamps">The stamps of the input files now.</param>
internal sealed record PreparedJob(JobManifest Manifest, IReadOnlyList<FileStamp> Stamps)
{
    /// <summary>Reads the plan of a folder and checks that it is of this job. Makes a plan if the folder has none.</summary>
    /// <param name="folder">The output folder.</param>
    /// <param name="settings">The settings of this job.</param>
    /// <param name="scan">The pass over the inputs.</param>
    /// <param name="report">Receives the number of rows that were read so far.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    /// <param name="cancellationToken">A token that stops the planning.</param>
    /// <exception cref="StellaBulkException">The folder is of another job, or an input is at fault.</exception>
    public static PreparedJob Create(
        IOutputFolder folder,
        IReadOnlyList<KeyValuePair<string, string>> settings,
        PlanScan scan,
        Action<long> report,
        Safeguards safeguards,
        CancellationToken cancellationToken)
    {
        if (OutputOwner.ReadManifest(folder) is { } found)
        {
            OutputOwner.ThrowIfSettingsDiffer(folder, found, settings, safeguards);
            return new PreparedJob(found, InputCheck.Check(scan.Files, found.Plan.Files, found.Stamps, cancellationToken));
        }

        ScannedInput input = scan.Run(report, cancellationToken);
        return new PreparedJob(new JobManifest(new BulkPlan(settings, input.Files, input.Chunks), input.Stamps), input.Stamps);
    }
}
