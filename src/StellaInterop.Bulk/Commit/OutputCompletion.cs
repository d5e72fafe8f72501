using System.Text.Json;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Checks the output of a job, and completes it when all parts are there.</summary>
/// <param name="folder">The output folder.</param>
/// <param name="files">Its files.</param>
/// <param name="manifest">The manifest of the job.</param>
/// <param name="committed">The records of the parts that this process committed, which it need not check again.</param>
internal sealed class OutputCompletion(IOutputFolder folder, OutputFiles files, JobManifest manifest, IReadOnlyDictionary<PartId, PartRecord> committed)
{
    /// <summary>Checks all parts and completes the output. Other processes may do the same at once.</summary>
    /// <param name="progress">Receives each part that was checked, in the order of the rows.</param>
    /// <param name="cancellationToken">A token that stops the check.</param>
    /// <returns>The record of each part; <see langword="null"/> if a chunk has no part yet.</returns>
    /// <exception cref="StellaBulkException">A part is damaged or foreign.</exception>
    public IReadOnlyList<PartRecord>? TryComplete(Action<PartId>? progress = null, CancellationToken cancellationToken = default)
    {
        PartSet parts = files.ReadCommitted();
        if (parts.Missing().Any())
        {
            return null;
        }

        ThrowIfForeignNames();
        foreach ((PartId whole, PartId half) in parts.Overlaps())
        {
            throw files.Damaged(files.PartFile(half, files.Extensions.Count - 1), $"has rows of '{files.PartFile(whole, files.Extensions.Count - 1)}'");
        }

        ILookup<string, string> names = files.RecordNames();
        var records = new List<PartRecord>();
        foreach (PartId part in parts.Parts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            records.Add(committed.GetValueOrDefault(part) ?? Check(part, names[files.NameOf(part)]));
            progress?.Invoke(part);
        }

        using (ITemporaryFile file = folder.CreateTemporary())
        {
            (manifest with { Parts = records }).Write(file.Content);
            _ = files.Seal(file);
            folder.Replace(file, OutputNames.Manifest);
        }

        files.Flush("");
        foreach (string name in folder.List(OutputNames.RecordsFolder).Where(name => !OutputNames.IsRecord(name)))
        {
            // A file of a writer that lost.
            folder.Delete($"{OutputNames.RecordsFolder}/{name}");
        }

        string[] others = [.. folder.List(OutputNames.ErrorsFolder).Where(name => IsOfOtherPart(name, parts))];
        foreach (string name in others)
        {
            // The rows of a chunk that a process without a lease did not commit, and that was halved then.
            folder.Delete($"{OutputNames.ErrorsFolder}/{name}");
        }

        if (others.Length > 0)
        {
            files.Flush(OutputNames.ErrorsFolder);
        }

        _ = files.Publish(OutputNames.Success, static _ => { });
        files.Flush("");
        return records;
    }

    /// <summary>Checks that all parts have names of this plan, and each a record.</summary>
    public void ThrowIfForeignNames()
    {
        if (!files.Has(Safeguards.PlanHash))
        {
            return;
        }

        // The parts are listed before the records: another process may write a record and its part between the two.
        string[] names = [.. folder.List("").Where(name => name.StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal))];
        ILookup<string, string> records = files.RecordNames();
        foreach (string name in names)
        {
            PartId part = default;
            if (!files.Extensions.Any(extension => files.TryReadFile(name, extension, out part)))
            {
                throw new StellaBulkException(
                    StellaBulkErrorCode.OutputDamaged,
                    $"The file '{name}' in the output folder '{folder.Path}' is not of this job. Move it away, and run the job again.");
            }

            if (!records.Contains(files.NameOf(part)))
            {
                throw files.Damaged(name, "was not written by a bulk job: it has no record");
            }
        }
    }

    /// <summary>Returns whether rows at fault are of a part that is not there.</summary>
    private bool IsOfOtherPart(string errors, PartSet parts) =>
        errors.EndsWith(OutputNames.ErrorsEnd, StringComparison.Ordinal)
        && files.TryReadName(errors[..^OutputNames.ErrorsEnd.Length], out PartId part)
        && !parts.Contains(part);

    /// <summary>Finds the record that a part matches, and completes the part if its writer ended before.</summary>
    private PartRecord Check(PartId part, IEnumerable<string> recordNames)
    {
        int last = files.Extensions.Count - 1;
        string? hash = files.HashOf(files.PartFile(part, last));
        string? errors = files.HashOf(OutputNames.ErrorsOf(files.NameOf(part)));
        string damaged = files.PartFile(part, last);
        foreach (string name in recordNames)
        {
            if (files.ReadRecord(name) is not { } record || record.Id != part || record.Hashes[^1] != hash || record.ErrorsHash != errors)
            {
                continue;
            }

            _ = files.NameOthers(part, $"{OutputNames.RecordsFolder}/{name}");
            int other = Enumerable.Range(0, last).FirstOrDefault(i => files.HashOf(files.PartFile(part, i)) != record.Hashes[i], last);
            if (other == last)
            {
                return record;
            }

            damaged = files.PartFile(part, other);
        }

        throw new StellaBulkException(
            StellaBulkErrorCode.OutputDamaged,
            $"The file '{damaged}' in the output folder '{folder.Path}' is missing or damaged, or no bulk job wrote it: no record has its hash. "
            + $"Delete all files of the part '{files.NameOf(part)}', and run the job again.");
    }
}
