using System.Text.Json;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Reads and writes the files of one output: it knows their names, and waits for the disk.</summary>
/// <param name="folder">The output folder.</param>
/// <param name="plan">The plan of the job.</param>
/// <param name="extensions">The ends of the names of the files of a part; the last one commits it.</param>
/// <param name="safeguards">The safeguards; all but in tests.</param>
internal sealed class OutputFiles(IOutputFolder folder, BulkPlan plan, IReadOnlyList<string> extensions, Safeguards safeguards)
{
    private readonly string shortHash =
        safeguards.HasFlag(Safeguards.PlanHash) ? plan.ShortHash : new string('0', plan.ShortHash.Length);

    /// <summary>Gets the ends of the names of the files of a part; the last one commits it.</summary>
    public IReadOnlyList<string> Extensions => extensions;

    public bool Has(Safeguards safeguard) => safeguards.HasFlag(safeguard);

    /// <summary>Returns the name of a part.</summary>
    public string NameOf(PartId part) => OutputNames.PartOf(shortHash, part);

    /// <summary>Returns the name of a file of a part.</summary>
    public string PartFile(PartId part, int index) => NameOf(part) + extensions[index];

    /// <summary>Reads the name of a part.</summary>
    public bool TryReadName(string name, out PartId part) => OutputNames.TryReadPart(name, shortHash, out part);

    /// <summary>Reads the name of a file of a part.</summary>
    public bool TryReadFile(string name, string extension, out PartId part)
    {
        part = default;
        return name.EndsWith(extension, StringComparison.Ordinal)
            && TryReadName(name[..^extension.Length], out part)
            && part.Chunk < plan.Chunks.Count
            && part.RowsOf(plan.Chunks[part.Chunk].RowCount).Count > 0;
    }

    /// <summary>Returns the parts that are there, by one look at the folder.</summary>
    public PartSet ReadCommitted()
    {
        var parts = new List<PartId>();
        foreach (string name in folder.List(""))
        {
            if (TryReadFile(name, extensions[^1], out PartId part))
            {
                parts.Add(part);
            }
        }

        return new PartSet(plan, parts);
    }

    /// <summary>Returns whether a part is there.</summary>
    public bool IsCommitted(PartId part) => folder.Exists(PartFile(part, extensions.Count - 1));

    /// <summary>Gives the files of a committed part but the last one their names.</summary>
    /// <param name="part">The part.</param>
    /// <param name="recordName">The record of the part.</param>
    /// <returns><see langword="false"/> if a name is taken or a file is not there, so that the part must be checked.</returns>
    public bool NameOthers(PartId part, string recordName)
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

    /// <summary>Reads a record; <see langword="null"/> if it is damaged or not there.</summary>
    public PartRecord? ReadRecord(string name)
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
    public string? HashOf(string name)
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

    /// <summary>Returns the names of the records by the name of their part.</summary>
    public ILookup<string, string> RecordNames() => folder.List(OutputNames.RecordsFolder).Where(OutputNames.IsRecord)
        .ToLookup(name => name.LastIndexOf('-') is > 0 and var end ? name[..end] : name, StringComparer.Ordinal);

    /// <summary>Writes a file and gives it its name.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    public bool Publish(string name, Action<Stream> write)
    {
        using ITemporaryFile file = folder.CreateTemporary();
        write(file.Content);
        _ = Seal(file);
        return TryPublish(file, name);
    }

    /// <summary>Gives a file its name.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    public bool TryPublish(ITemporaryFile file, string name)
    {
        if (Has(Safeguards.PutIfAbsent))
        {
            return folder.TryPublish(file, name);
        }

        folder.Replace(file, name);
        return true;
    }

    /// <summary>Waits until the content of a file is on the disk, and returns its hash.</summary>
    public string Seal(ITemporaryFile file)
    {
        if (Has(Safeguards.FlushOrder))
        {
            file.Flush();
        }

        file.Content.Position = 0;
        return FileContent.Hash(file.Content);
    }

    /// <summary>Waits until the names in a folder are on the disk.</summary>
    public void Flush(string name)
    {
        if (Has(Safeguards.FlushOrder))
        {
            folder.FlushFolder(name);
        }
    }

    /// <summary>Returns the error of a file that is not as a job writes it.</summary>
    public StellaBulkException Damaged(string name, string fault) => new(
        StellaBulkErrorCode.OutputDamaged,
        $"The file '{name}' in the output folder '{folder.Path}' {fault}. Delete it, and run the job again.");
}
