using System.Text.Json;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents the output of one job: its manifest, its parts, its end.</summary>
/// <remarks>
/// <para>The folder is the whole truth about a job. Any number of processes may work on it, and each may end at any moment.</para>
/// <para>
/// The order on disk is: content of all files, rows at fault, record, part, manifest with all records, <c>_SUCCESS</c>. So each part has its
/// record and its errors, and <c>_SUCCESS</c> has everything. Part and manifest get their names with put-if-absent: of two writers one loses
/// without harm.
/// </para>
/// <para>
/// A part of several files is committed by the name of its last one. The others wait beside the record, under a name that has the hash of the
/// record and so of all files. After the commit they get their names, from the writer or, if it ended, from the process that completes the
/// output. So all files of a part are of one writer, even if another one has other bits.
/// </para>
/// <para>
/// With a claim, the rows at fault wait there as well, and get their name after the claim and before the part. Otherwise a late writer
/// would leave them beside those of the halves.
/// </para>
/// </remarks>
internal sealed class JobOutput
{
    /// <summary>The end of the name of rows at fault that wait for the claim of their part.</summary>
    private const string WaitingErrorsEnd = ".errors";

    private readonly IOutputFolder folder;
    private readonly IReadOnlyList<string> extensions;
    private readonly Safeguards safeguards;
    private readonly string shortHash;

    /// <summary>The records of the parts that this process committed, which it need not check again.</summary>
    private readonly Dictionary<PartId, PartRecord> committed = [];

    private JobOutput(IOutputFolder folder, JobManifest manifest, IReadOnlyList<string> extensions, Safeguards safeguards)
    {
        this.folder = folder;
        this.extensions = extensions;
        this.safeguards = safeguards;
        Manifest = manifest;
        shortHash = Has(Safeguards.PlanHash) ? manifest.Plan.ShortHash : new string('0', manifest.Plan.ShortHash.Length);
    }

    /// <summary>Gets the manifest that the folder has.</summary>
    public JobManifest Manifest { get; }

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

    /// <summary>Begins a job, or continues one that has the same plan.</summary>
    /// <param name="folder">The output folder.</param>
    /// <param name="manifest">The manifest with the plan of this process.</param>
    /// <param name="extensions">The ends of the names of the files of a part; the last one commits it.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    /// <exception cref="StellaBulkException">The folder holds another plan, or files of another one.</exception>
    public static JobOutput Open(
        IOutputFolder folder, JobManifest manifest, IReadOnlyList<string> extensions, Safeguards safeguards = Safeguards.All)
    {
        CreateFolders(folder);
        folder.DeleteAbandoned();
        var output = new JobOutput(folder, manifest, extensions, safeguards);
        bool isNew = !folder.Exists(OutputNames.Manifest) && output.Publish(OutputNames.Manifest, manifest.Write);
        folder.FlushFolder("");
        if (isNew)
        {
            return output;
        }

        // Another process may have begun a job between the look into the folder and now.
        JobManifest current = ReadManifest(folder)!;
        ThrowIfSettingsDiffer(folder, current, manifest.Plan.Settings, safeguards);
        if (current.Plan.Hash != manifest.Plan.Hash && safeguards.HasFlag(Safeguards.PlanHash))
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.InputChanged,
                $"The output folder '{folder.Path}' belongs to a job with the same settings and other content of the input files. Name another output folder.");
        }

        output = new JobOutput(folder, safeguards.HasFlag(Safeguards.PlanHash) ? current : manifest, extensions, safeguards);
        output.ThrowIfForeignNames();
        return output;
    }

    /// <summary>Returns the parts that are there, by one look at the folder.</summary>
    public PartSet ReadCommitted() => ReadParts(folder, Manifest.Plan, shortHash, extensions);

    /// <summary>Returns the parts of a plan that are in a folder.</summary>
    public static PartSet ReadParts(IOutputFolder folder, BulkPlan plan, IReadOnlyList<string> extensions) =>
        ReadParts(folder, plan, plan.ShortHash, extensions);

    /// <summary>Returns whether a part is there.</summary>
    public bool IsCommitted(PartId part) => folder.Exists(PartFile(part, extensions.Count - 1));

    /// <summary>Counts the rows at fault of parts.</summary>
    /// <param name="parts">The parts.</param>
    public long CountErrors(PartSet parts)
    {
        HashSet<string> names = [.. folder.List(OutputNames.ErrorsFolder).Select(name => $"{OutputNames.ErrorsFolder}/{name}")];
        return parts.Parts
            .Select(part => OutputNames.ErrorsOf(OutputNames.PartOf(shortHash, part)))
            .Where(names.Contains)
            .Sum(CountLines);
    }

    /// <summary>Creates the files of a part.</summary>
    public PartInHand Begin(PartId part) => new(part, extensions.Select(_ => folder.CreateTemporary()), folder.CreateTemporary);

    /// <summary>Commits a part whose files are complete.</summary>
    /// <param name="part">The part.</param>
    /// <param name="counts">Its counts.</param>
    /// <param name="claim">
    /// The name of the file whose creation decides whether the part may be committed; <see langword="null"/> without a lease. The end of a
    /// lease is a file of this name, so the writer or the end of the lease comes first, and the other one knows.
    /// </param>
    /// <returns><see langword="false"/> if the part is there already, or the claim is taken.</returns>
    /// <exception cref="StellaBulkException">A file of another writer is in the way.</exception>
    public bool Commit(PartInHand part, PartCounts counts, string? claim = null)
    {
        string name = OutputNames.PartOf(shortHash, part.Id);
        if (claim is not null && folder.Exists(claim))
        {
            return false;
        }

        var record = new PartRecord(part.Id, counts, [.. part.Files.Select(Seal)], part.Errors is null ? null : Seal(part.Errors));
        if (claim is null && part.Errors is not null && !PublishEqual(part.Errors, OutputNames.ErrorsOf(name), record.ErrorsHash!, part.Id))
        {
            return false;
        }

        byte[] json = record.ToJson();
        string recordName = OutputNames.RecordOf(name, FileContent.Hash(json));
        int last = part.Files.Count - 1;
        for (int i = 0; i < last; i++)
        {
            // A file with the name has the same content.
            _ = TryPublish(part.Files[i], OutputNames.WaitingOf(recordName, extensions[i]));
        }

        if (claim is not null && part.Errors is not null)
        {
            _ = TryPublish(part.Errors, OutputNames.WaitingOf(recordName, WaitingErrorsEnd));
        }

        _ = Publish(recordName, content => content.Write(json));
        if (claim is null && part.Errors is not null)
        {
            Flush(OutputNames.ErrorsFolder);
        }

        Flush(OutputNames.RecordsFolder);
        bool isCommitted;
        if (claim is null)
        {
            if (part.Errors is null && !IsCommitted(part.Id))
            {
                DeleteStaleErrors(part.Id, record);
            }

            isCommitted = TryPublish(part.Files[last], PartFile(part.Id, last));
        }
        else
        {
            isCommitted = TryPublish(part.Files[last], claim) && CommitClaimed(part.Id, claim, recordName, record);
        }

        if (!isCommitted)
        {
            return false;
        }

        if (claim is null)
        {
            Flush("");
        }

        if (NameOthers(part.Id, recordName) && (claim is null || part.Errors is null))
        {
            committed[part.Id] = record;
        }

        return true;
    }

    /// <summary>Gives a part that was claimed its name. Any process may do so, because the writer may have ended.</summary>
    /// <returns><see langword="false"/> if the part is there already, or another process does this now.</returns>
    /// <exception cref="IOException">This machine does not see all files of the part yet.</exception>
    public bool CommitClaimed(PartId part, string claim)
    {
        if (IsCommitted(part) || HashOf(claim) is not { } hash)
        {
            return false;
        }

        (string Name, PartRecord? Record) found = RecordNames()[OutputNames.PartOf(shortHash, part)]
            .Select(name => (Name: name, Record: ReadRecord(name)))
            .FirstOrDefault(record => record.Record?.Hashes[^1] == hash);
        return found.Record is { } record
            ? CommitClaimed(part, claim, $"{OutputNames.RecordsFolder}/{found.Name}", record)
            : throw new IOException($"The record of the part '{OutputNames.PartOf(shortHash, part)}' in the output folder '{folder.Path}' is not visible yet.");
    }

    private bool CommitClaimed(PartId part, string claim, string recordName, PartRecord record)
    {
        // A part that is there has its rows at fault already.
        if (!IsCommitted(part))
        {
            DeleteStaleErrors(part, record);
            if (record.ErrorsHash is not null)
            {
                NameErrors(part, recordName, claim);
            }
        }

        // The claim stays: another machine may not see the part yet, and would end the lease in its place.
        bool isNamed = folder.TryRename(claim, PartFile(part, extensions.Count - 1));
        Flush("");
        return isNamed;
    }

    /// <summary>Checks all parts and completes the output. Other processes may do the same at once.</summary>
    /// <param name="progress">Receives each part that was checked, in the order of the rows.</param>
    /// <param name="cancellationToken">A token that stops the check.</param>
    /// <returns>The record of each part; <see langword="null"/> if a chunk has no part yet.</returns>
    /// <exception cref="StellaBulkException">A part is damaged or foreign.</exception>
    public IReadOnlyList<PartRecord>? TryComplete(Action<PartId>? progress = null, CancellationToken cancellationToken = default)
    {
        PartSet parts = ReadCommitted();
        if (parts.Missing().Any())
        {
            return null;
        }

        ThrowIfForeignNames();
        foreach ((PartId whole, PartId half) in parts.Overlaps())
        {
            throw Damaged(PartFile(half, extensions.Count - 1), $"has rows of '{PartFile(whole, extensions.Count - 1)}'");
        }

        ILookup<string, string> names = RecordNames();
        var records = new List<PartRecord>();
        foreach (PartId part in parts.Parts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            records.Add(committed.GetValueOrDefault(part) ?? Check(part, names[OutputNames.PartOf(shortHash, part)]));
            progress?.Invoke(part);
        }

        using (ITemporaryFile file = folder.CreateTemporary())
        {
            (Manifest with { Parts = records }).Write(file.Content);
            _ = Seal(file);
            folder.Replace(file, OutputNames.Manifest);
        }

        Flush("");
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
            Flush(OutputNames.ErrorsFolder);
        }

        _ = Publish(OutputNames.Success, static _ => { });
        Flush("");
        return records;
    }

    /// <summary>Returns whether rows at fault are of a part that is not there.</summary>
    private bool IsOfOtherPart(string errors, PartSet parts) =>
        errors.EndsWith(OutputNames.ErrorsEnd, StringComparison.Ordinal)
        && OutputNames.TryReadPart(errors[..^OutputNames.ErrorsEnd.Length], shortHash, out PartId part)
        && !parts.Contains(part);

    private long CountLines(string name)
    {
        using var lines = new StreamReader(folder.OpenRead(name));
        long count = 0;
        while (lines.ReadLine() is not null)
        {
            count++;
        }

        return count;
    }

    /// <summary>
    /// Deletes rows at fault of a part that is not there, if they are not those of a record. A writer whose claim was deleted with the leases of its job
    /// left them.
    /// </summary>
    private void DeleteStaleErrors(PartId part, PartRecord record)
    {
        string errors = OutputNames.ErrorsOf(OutputNames.PartOf(shortHash, part));
        if (folder.Exists(errors) && HashOf(errors) != record.ErrorsHash)
        {
            folder.Delete(errors);
            Flush(OutputNames.ErrorsFolder);
        }
    }

    /// <summary>Gives the rows at fault of a claimed part their name.</summary>
    private void NameErrors(PartId part, string recordName, string claim)
    {
        // The claim is on the disk before the rows at fault have their name, because nobody would delete them without it.
        Flush(claim[..claim.LastIndexOf('/')]);
        string waiting = OutputNames.WaitingOf(recordName, WaitingErrorsEnd);
        string errors = OutputNames.ErrorsOf(OutputNames.PartOf(shortHash, part));
        if (!folder.TryRename(waiting, errors) && !folder.Exists(errors))
        {
            throw new IOException($"The rows at fault of '{errors}' in the output folder '{folder.Path}' are not visible yet.");
        }

        Flush(OutputNames.ErrorsFolder);
        folder.Delete(waiting);
    }

    /// <summary>Gives the files of a committed part but the last one their names.</summary>
    /// <param name="part">The part.</param>
    /// <param name="recordName">The record of the part.</param>
    /// <returns><see langword="false"/> if a name is taken or a file is not there, so that the part must be checked.</returns>
    private bool NameOthers(PartId part, string recordName)
    {
        int last = extensions.Count - 1;
        bool areNamed = true;
        for (int i = 0; i < last; i++)
        {
            areNamed &= folder.TryRename(OutputNames.WaitingOf(recordName, extensions[i]), PartFile(part, i));
        }

        if (last > 0 && areNamed)
        {
            Flush("");
            for (int i = 0; i < last; i++)
            {
                folder.Delete(OutputNames.WaitingOf(recordName, extensions[i]));
            }
        }

        return areNamed;
    }

    /// <summary>Finds the record that a part matches, and completes the part if its writer ended before.</summary>
    private PartRecord Check(PartId part, IEnumerable<string> recordNames)
    {
        int last = extensions.Count - 1;
        string? hash = HashOf(PartFile(part, last));
        string? errors = HashOf(OutputNames.ErrorsOf(OutputNames.PartOf(shortHash, part)));
        string damaged = PartFile(part, last);
        foreach (string name in recordNames)
        {
            if (ReadRecord(name) is not { } record || record.Id != part || record.Hashes[^1] != hash || record.ErrorsHash != errors)
            {
                continue;
            }

            _ = NameOthers(part, $"{OutputNames.RecordsFolder}/{name}");
            int other = Enumerable.Range(0, last).FirstOrDefault(i => HashOf(PartFile(part, i)) != record.Hashes[i], last);
            if (other == last)
            {
                return record;
            }

            damaged = PartFile(part, other);
        }

        throw new StellaBulkException(
            StellaBulkErrorCode.OutputDamaged,
            $"The file '{damaged}' in the output folder '{folder.Path}' is missing or damaged, or no bulk job wrote it: no record has its hash. "
            + $"Delete all files of the part '{OutputNames.PartOf(shortHash, part)}', and run the job again.");
    }

    private PartRecord? ReadRecord(string name)
    {
        try
        {
            using Stream content = folder.OpenRead($"{OutputNames.RecordsFolder}/{name}");
            using var document = JsonDocument.Parse(content);
            return PartRecord.Read(document.RootElement);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FileNotFoundException)
        {
            // A record that is damaged, or not there yet, matches no part.
            return null;
        }
    }

    /// <summary>Returns the hash of a file; <see langword="null"/> if it does not exist.</summary>
    private string? HashOf(string name)
    {
        try
        {
            using Stream content = folder.OpenRead(name);
            return FileContent.Hash(content);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Checks that all parts have names of this plan, and each a record.</summary>
    private void ThrowIfForeignNames()
    {
        if (!Has(Safeguards.PlanHash))
        {
            return;
        }

        // The parts are listed before the records: another process may write a record and its part between the two.
        string[] names = [.. folder.List("").Where(name => name.StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal))];
        ILookup<string, string> records = RecordNames();
        foreach (string name in names)
        {
            PartId part = default;
            if (!extensions.Any(extension => TryReadPart(name, Manifest.Plan, shortHash, extension, out part)))
            {
                throw new StellaBulkException(
                    StellaBulkErrorCode.OutputDamaged,
                    $"The file '{name}' in the output folder '{folder.Path}' is not of this job. Move it away, and run the job again.");
            }

            if (!records.Contains(OutputNames.PartOf(shortHash, part)))
            {
                throw Damaged(name, "was not written by a bulk job: it has no record");
            }
        }
    }

    /// <summary>Returns the names of the records by the name of their part.</summary>
    private ILookup<string, string> RecordNames() => folder.List(OutputNames.RecordsFolder).Where(OutputNames.IsRecord)
        .ToLookup(name => name.LastIndexOf('-') is > 0 and var end ? name[..end] : name, StringComparer.Ordinal);

    /// <summary>Gives a file its name. A file that has the name must have the same content, unless the part is there.</summary>
    /// <returns><see langword="false"/> if the part is there.</returns>
    private bool PublishEqual(ITemporaryFile file, string name, string hash, PartId part)
    {
        if (TryPublish(file, name) || (!IsCommitted(part) && HashOf(name) == hash))
        {
            return true;
        }

        return IsCommitted(part)
            ? false
            : throw Damaged(name, "is damaged, or a process with other bits wrote it before it ended");
    }

    /// <summary>Writes a file and gives it its name.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    private bool Publish(string name, Action<Stream> write)
    {
        using ITemporaryFile file = folder.CreateTemporary();
        write(file.Content);
        _ = Seal(file);
        return TryPublish(file, name);
    }

    private bool TryPublish(ITemporaryFile file, string name)
    {
        if (Has(Safeguards.PutIfAbsent))
        {
            return folder.TryPublish(file, name);
        }

        folder.Replace(file, name);
        return true;
    }

    /// <summary>Waits until the content of a file is on the disk, and returns its hash.</summary>
    private string Seal(ITemporaryFile file)
    {
        if (Has(Safeguards.FlushOrder))
        {
            file.Flush();
        }

        file.Content.Position = 0;
        return FileContent.Hash(file.Content);
    }

    private void Flush(string name)
    {
        if (Has(Safeguards.FlushOrder))
        {
            folder.FlushFolder(name);
        }
    }

    private bool Has(Safeguards safeguard) => safeguards.HasFlag(safeguard);

    private string PartFile(PartId part, int index) => OutputNames.PartOf(shortHash, part) + extensions[index];

    private static PartSet ReadParts(IOutputFolder folder, BulkPlan plan, string shortHash, IReadOnlyList<string> extensions)
    {
        var parts = new List<PartId>();
        foreach (string name in folder.List(""))
        {
            if (TryReadPart(name, plan, shortHash, extensions[^1], out PartId part))
            {
                parts.Add(part);
            }
        }

        return new PartSet(plan, parts);
    }

    /// <summary>Reads the name of a file of a part.</summary>
    private static bool TryReadPart(string name, BulkPlan plan, string shortHash, string extension, out PartId part)
    {
        part = default;
        return name.EndsWith(extension, StringComparison.Ordinal)
            && OutputNames.TryReadPart(name[..^extension.Length], shortHash, out part)
            && part.Chunk < plan.Chunks.Count
            && part.RowsOf(plan.Chunks[part.Chunk].RowCount).Count > 0;
    }

    private StellaBulkException Damaged(string name, string fault) => new(
        StellaBulkErrorCode.OutputDamaged,
        $"The file '{name}' in the output folder '{folder.Path}' {fault}. Delete it, and run the job again.");
}
