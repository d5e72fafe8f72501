using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Chaos.Checking;

/// <summary>Checks the output of a job against its input and against the output of a run in one process.</summary>
/// <param name="output">The output folder.</param>
/// <param name="reference">The output folder of one process, without the poison row.</param>
/// <param name="ids">The ids of all rows.</param>
/// <param name="poisonId">The id of the poison row.</param>
internal sealed class OutputCheck(string output, string reference, IReadOnlyList<string> ids, string poisonId)
{
    public const string AllReadable = "Every part and every file of _errors is readable";
    public const string OnceEach = "Every id is once in the parts and _errors";
    public const string EqualBits = "Every vector has the bits of the run in one process";
    public const string PoisonAlone = "_errors has the poison row alone";
    public const string ChunksCovered = "Every chunk of the plan has its part, or halves that cover it once";
    public const string ManifestAgrees = "_manifest.json has the counts and hashes of the files";
    public const string NoOtherFiles = "No file is there that the manifest does not name";
    public const string Complete = "_SUCCESS is there and _cluster is not";

    /// <summary>Checks all rules.</summary>
    public IReadOnlyList<Rule> Check()
    {
        if (!Directory.Exists(output))
        {
            return [new(Complete, [$"the folder {output} is not there"])];
        }

        string[] parts = [.. Names("").Where(name => PartName.Parse(name) is not null)];
        string[] faults = [.. Names(OutputNames.ErrorsFolder)];
        var unreadable = new List<string>();
        OutputRow[] rows = [.. parts.SelectMany(part => Read(part, OutputRows.Read, unreadable))];
        string[] faultIds = [.. faults.SelectMany(file => Read(Path.Combine(OutputNames.ErrorsFolder, file), OutputRows.ReadFaultIds, unreadable))];
        return
        [
            new(AllReadable, unreadable),
            new(OnceEach, [.. Counts([.. rows.Select(row => row.Id), .. faultIds])]),
            new(EqualBits, [.. OtherBits(rows)]),
            new(PoisonAlone, faultIds is [var id] && id == poisonId ? [] : [$"_errors has [{string.Join(", ", faultIds)}], not [{poisonId}]"]),
            new(ChunksCovered, WithManifest(manifest => Uncovered(manifest, parts))),
            new(ManifestAgrees, WithManifest(manifest => ManifestDifferences(manifest, parts, faults, rows.Length, faultIds.Length))),
            new(NoOtherFiles, [.. OtherFiles(parts)]),
            new(Complete, [.. Missing()]),
        ];
    }

    private static bool IsUnreadable(Exception e) =>
        e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException;

    private static IEnumerable<string> Uncovered(JsonElement manifest, IEnumerable<string> parts)
    {
        ILookup<int, PartName> byChunk = parts.Select(PartName.Parse).ToLookup(part => part!.Chunk, part => part!);
        int planned = manifest.GetProperty("plan").GetProperty("chunks").GetArrayLength();
        return Enumerable.Range(0, planned)
            .Where(chunk => !PartName.Cover([.. byChunk[chunk].Select(part => part.Halves)]))
            .Select(chunk => $"chunk {chunk} has [{string.Join(", ", byChunk[chunk].Select(part => part.Halves.Length == 0 ? "whole" : part.Halves))}]")
            .Concat(byChunk.Where(part => part.Key >= planned).Select(part => $"chunk {part.Key} is not in the plan"));
    }

    /// <summary>Reads a file of the output. A file that is not readable has no rows.</summary>
    /// <param name="file">The path in the output.</param>
    /// <param name="read">Reads a file.</param>
    /// <param name="violations">Receives why the file is not readable.</param>
    private T[] Read<T>(string file, Func<string, IEnumerable<T>> read, List<string> violations)
    {
        try
        {
            return [.. read(Path.Combine(output, file))];
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            violations.Add($"{file} is not readable: {e.Message}");
            return [];
        }
    }

    /// <summary>Finds violations with the manifest, whose own defects are violations.</summary>
    private string[] WithManifest(Func<JsonElement, IEnumerable<string>> find)
    {
        try
        {
            using var manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(output, OutputNames.Manifest)));
            return [.. find(manifest.RootElement)];
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            return [$"{OutputNames.Manifest} cannot be compared with the files: {e.Message}"];
        }
    }

    private IEnumerable<string> Counts(IReadOnlyList<string> found)
    {
        Dictionary<string, int> counts = found.CountBy(id => id).ToDictionary();
        foreach (string id in ids)
        {
            _ = counts.Remove(id, out int count);
            if (count != 1)
            {
                yield return $"{id} is there {count} times";
            }
        }

        foreach (string id in counts.Keys)
        {
            yield return $"{id} is not in the input";
        }
    }

    private IEnumerable<string> OtherBits(IEnumerable<OutputRow> rows)
    {
        Dictionary<string, OutputRow> expected = Directory.EnumerateFiles(reference, $"{OutputNames.PartPrefix}*.jsonl")
            .SelectMany(OutputRows.Read).ToDictionary(row => row.Id);
        return rows.Where(row => !expected.TryGetValue(row.Id, out OutputRow? other) || !row.HasBitsOf(other)).Select(row => row.Id);
    }

    private IEnumerable<string> ManifestDifferences(JsonElement manifest, string[] parts, string[] faults, long rows, long errors)
    {
        if (!manifest.TryGetProperty("parts", out JsonElement records))
        {
            yield return "it has no parts";
            yield break;
        }

        if (manifest.GetProperty("rows").GetInt64() != rows || manifest.GetProperty("errors").GetInt64() != errors)
        {
            yield return $"it counts {manifest.GetProperty("rows")} rows and {manifest.GetProperty("errors")} errors, the files {rows} and {errors}";
        }

        string planHash = manifest.GetProperty("plan_hash").GetString()!;
        foreach (string part in parts.Concat(faults).Where(part => PartName.Parse(part) is not { } name || !planHash.StartsWith(name.PlanHash, StringComparison.Ordinal)))
        {
            yield return $"{part} is not of the plan {planHash}";
        }

        var named = records.EnumerateArray().SelectMany(record => record.GetProperty("sha256").EnumerateArray()).Select(hash => hash.GetString()!).ToList();
        var namedFaults = records.EnumerateArray().Select(record => record.GetProperty("errors_sha256").GetString()).OfType<string>().ToList();
        foreach (string part in parts.Where(part => !named.Remove(HashOf(part))))
        {
            yield return $"{part} has another hash";
        }

        foreach (string part in faults.Where(part => !namedFaults.Remove(HashOf(Path.Combine(OutputNames.ErrorsFolder, part)))))
        {
            yield return $"{OutputNames.ErrorsFolder}/{part} has another hash";
        }

        foreach (string hash in named.Concat(namedFaults))
        {
            yield return $"no file has the hash {hash}";
        }
    }

    private IEnumerable<string> OtherFiles(string[] parts)
    {
        HashSet<PartName> names = [.. parts.Select(part => PartName.Parse(part)!)];
        // A late writer of a whole chunk may have left its record beside those of the halves.
        HashSet<int> chunks = [.. names.Select(part => part.Chunk)];
        foreach (string file in Directory.EnumerateFiles(output, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(output, file)))
        {
            string name = Path.GetFileName(file);
            bool isNamed = Path.GetDirectoryName(file) switch
            {
                "" => name is OutputNames.Manifest or OutputNames.Success || PartName.Parse(name) is not null,
                OutputNames.ErrorsFolder => PartName.Parse(name) is { } part && names.Contains(part),
                OutputNames.RecordsFolder => PartName.ParseRecord(name) is { } part && chunks.Contains(part.Chunk),
                _ => false,
            };
            if (!isNamed)
            {
                yield return file;
            }
        }
    }

    private IEnumerable<string> Missing()
    {
        if (!File.Exists(Path.Combine(output, OutputNames.Success)))
        {
            yield return $"{OutputNames.Success} is missing";
        }

        if (Directory.Exists(Path.Combine(output, OutputNames.ClusterFolder)))
        {
            yield return $"{OutputNames.ClusterFolder} is there";
        }
    }

    private string HashOf(string file) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(output, file))));

    private IEnumerable<string> Names(string folder) => Directory.Exists(Path.Combine(output, folder))
        ? Directory.EnumerateFiles(Path.Combine(output, folder)).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)
        : [];
}
