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
    private readonly OutputFiles files;

    /// <summary>The records of the parts that this process committed, which it need not check again.</summary>
    private readonly Dictionary<PartId, PartRecord> committed = [];

    private JobOutput(IOutputFolder folder, JobManifest manifest, OutputFiles files)
    {
        this.folder = folder;
        this.files = files;
        Manifest = manifest;
    }

    /// <summary>Gets the manifest that the folder has.</summary>
    public JobManifest Manifest { get; }

    private OutputCompletion Completion => new(folder, files, Manifest, committed);

    /// <summary>Begins a job, or continues one that has the same plan.</summary>
    /// <param name="folder">The output folder.</param>
    /// <param name="manifest">The manifest with the plan of this process.</param>
    /// <param name="extensions">The ends of the names of the files of a part; the last one commits it.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    /// <exception cref="StellaBulkException">The folder holds another plan, or files of another one.</exception>
    public static JobOutput Open(
        IOutputFolder folder, JobManifest manifest, IReadOnlyList<string> extensions, Safeguards safeguards = Safeguards.All)
    {
        OutputOwner.CreateFolders(folder);
        folder.DeleteAbandoned();
        bool isNew = !folder.Exists(OutputNames.Manifest)
            && new OutputFiles(folder, manifest.Plan, extensions, safeguards).Publish(OutputNames.Manifest, manifest.Write);
        folder.FlushFolder("");
        if (isNew)
        {
            return Create(manifest);
        }

        // Another process may have begun a job between the look into the folder and now.
        JobManifest current = OutputOwner.ReadManifest(folder)!;
        OutputOwner.ThrowIfSettingsDiffer(folder, current, manifest.Plan.Settings, safeguards);
        if (current.Plan.Hash != manifest.Plan.Hash && safeguards.HasFlag(Safeguards.PlanHash))
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.InputChanged,
                $"The output folder '{folder.Path}' belongs to a job with the same settings and other content of the input files. Name another output folder.");
        }

        JobOutput output = Create(safeguards.HasFlag(Safeguards.PlanHash) ? current : manifest);
        output.Completion.ThrowIfForeignNames();
        return output;

        JobOutput Create(JobManifest own) => new(folder, own, new OutputFiles(folder, own.Plan, extensions, safeguards));
    }

    /// <summary>Returns the parts that are there, by one look at the folder.</summary>
    public PartSet ReadCommitted() => files.ReadCommitted();

    /// <summary>Returns whether a part is there.</summary>
    public bool IsCommitted(PartId part) => files.IsCommitted(part);

    /// <summary>Counts the rows at fault of parts.</summary>
    /// <param name="parts">The parts.</param>
    public long CountErrors(PartSet parts)
    {
        HashSet<string> names = [.. folder.List(OutputNames.ErrorsFolder).Select(name => $"{OutputNames.ErrorsFolder}/{name}")];
        return parts.Parts
            .Select(part => OutputNames.ErrorsOf(files.NameOf(part)))
            .Where(names.Contains)
            .Sum(CountLines);
    }

    /// <summary>Creates the files of a part.</summary>
    public PartInHand Begin(PartId part) => new(part, files.Extensions.Select(_ => folder.CreateTemporary()), folder.CreateTemporary);

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
        string name = files.NameOf(part.Id);
        if (claim is not null && folder.Exists(claim))
        {
            return false;
        }

        var record = new PartRecord(part.Id, counts, [.. part.Files.Select(files.Seal)], part.Errors is null ? null : files.Seal(part.Errors));
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
            _ = files.TryPublish(part.Files[i], OutputNames.WaitingOf(recordName, files.Extensions[i]));
        }

        if (claim is not null && part.Errors is not null)
        {
            _ = files.TryPublish(part.Errors, OutputNames.WaitingOf(recordName, WaitingErrorsEnd));
        }

        _ = files.Publish(recordName, content => content.Write(json));
        if (claim is null && part.Errors is not null)
        {
            files.Flush(OutputNames.ErrorsFolder);
        }

        files.Flush(OutputNames.RecordsFolder);
        bool isCommitted;
        if (claim is null)
        {
            if (part.Errors is null && !files.IsCommitted(part.Id))
            {
                DeleteStaleErrors(part.Id, record);
            }

            isCommitted = files.TryPublish(part.Files[last], files.PartFile(part.Id, last));
        }
        else
        {
            isCommitted = files.TryPublish(part.Files[last], claim) && CommitClaimed(part.Id, claim, recordName, record);
        }

        if (!isCommitted)
        {
            return false;
        }

        if (claim is null)
        {
            files.Flush("");
        }

        if (files.NameOthers(part.Id, recordName) && (claim is null || part.Errors is null))
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
        if (files.IsCommitted(part) || files.HashOf(claim) is not { } hash)
        {
            return false;
        }

        (string Name, PartRecord? Record) found = files.RecordNames()[files.NameOf(part)]
            .Select(name => (Name: name, Record: files.ReadRecord(name)))
            .FirstOrDefault(record => record.Record?.Hashes[^1] == hash);
        return found.Record is { } record
            ? CommitClaimed(part, claim, $"{OutputNames.RecordsFolder}/{found.Name}", record)
            : throw new IOException($"The record of the part '{files.NameOf(part)}' in the output folder '{folder.Path}' is not visible yet.");
    }

    private bool CommitClaimed(PartId part, string claim, string recordName, PartRecord record)
    {
        // A part that is there has its rows at fault already.
        if (!files.IsCommitted(part))
        {
            DeleteStaleErrors(part, record);
            if (record.ErrorsHash is not null)
            {
                NameErrors(part, recordName, claim);
            }
        }

        // The claim stays: another machine may not see the part yet, and would end the lease in its place.
        bool isNamed = folder.TryRename(claim, files.PartFile(part, files.Extensions.Count - 1));
        files.Flush("");
        return isNamed;
    }

    /// <inheritdoc cref="OutputCompletion.TryComplete"/>
    public IReadOnlyList<PartRecord>? TryComplete(Action<PartId>? progress = null, CancellationToken cancellationToken = default) =>
        Completion.TryComplete(progress, cancellationToken);

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
        string errors = OutputNames.ErrorsOf(files.NameOf(part));
        if (folder.Exists(errors) && files.HashOf(errors) != record.ErrorsHash)
        {
            folder.Delete(errors);
            files.Flush(OutputNames.ErrorsFolder);
        }
    }

    /// <summary>Gives the rows at fault of a claimed part their name.</summary>
    private void NameErrors(PartId part, string recordName, string claim)
    {
        // The claim is on the disk before the rows at fault have their name, because nobody would delete them without it.
        files.Flush(claim[..claim.LastIndexOf('/')]);
        string waiting = OutputNames.WaitingOf(recordName, WaitingErrorsEnd);
        string errors = OutputNames.ErrorsOf(files.NameOf(part));
        if (!folder.TryRename(waiting, errors) && !folder.Exists(errors))
        {
            throw new IOException($"The rows at fault of '{errors}' in the output folder '{folder.Path}' are not visible yet.");
        }

        files.Flush(OutputNames.ErrorsFolder);
        folder.Delete(waiting);
    }

    /// <summary>Gives a file its name. A file that has the name must have the same content, unless the part is there.</summary>
    /// <returns><see langword="false"/> if the part is there.</returns>
    private bool PublishEqual(ITemporaryFile file, string name, string hash, PartId part)
    {
        if (files.TryPublish(file, name) || (!files.IsCommitted(part) && files.HashOf(name) == hash))
        {
            return true;
        }

        return files.IsCommitted(part)
            ? false
            : throw files.Damaged(name, "is damaged, or a process with other bits wrote it before it ended");
    }
}
