using System.Text;
using System.Text.Json;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>The rules of a complete output of a cluster.</summary>
internal sealed class OutputRules(ClusterWorld world)
{
    private const string IdsEnd = ".ids";
    private const string VectorsEnd = ".vectors";

    /// <summary>Returns the first rule that the output breaks.</summary>
    public string? Violation()
    {
        if (world.Disk.ChangedParts.Count > 0)
        {
            return $"{world.Disk.ChangedParts[0]} has changed.";
        }

        JobManifest? manifest;
        try
        {
            manifest = OutputOwner.ReadManifest(world.Disk.Open());
        }
        catch (StellaBulkException e)
        {
            return e.Message;
        }

        if (manifest is not { Parts: { } records } || !world.IsComplete)
        {
            return "The output is not complete.";
        }

        var seen = new List<string>();
        return OfParts(seen) ?? OfErrors(seen, manifest.Plan)
            ?? (seen.Order().SequenceEqual(world.Texts.Keys.Order()) ? null : $"The ids are {string.Join(' ', seen)}.")
            ?? OfManifest(manifest.Plan, records);
    }

    private string? OfParts(List<string> seen)
    {
        var embedder = new TestEmbedder();
        foreach (string name in PartFiles(IdsEnd))
        {
            string[][] rows = [.. Lines(name).Select(line => line.Split(' '))];
            string[] vectors = Lines(name.Replace(IdsEnd, VectorsEnd, StringComparison.Ordinal));
            if (!rows.Select(row => row[^1]).SequenceEqual(vectors.Select(vector => vector.Split(' ')[0])))
            {
                return $"{name} is of other vectors.";
            }

            if (!rows.Select(row => Bits(embedder.Vector(world.Texts.GetValueOrDefault(row[0]) ?? "?", 4))).SequenceEqual(vectors))
            {
                return $"{name} has vectors that are not those of the planned texts and of the model of the job.";
            }

            seen.AddRange(rows.Select(row => row[0]));
        }

        return null;
    }

    private string? OfErrors(List<string> seen, BulkPlan plan)
    {
        foreach (string name in world.Disk.Names.Where(name => name.StartsWith(OutputNames.ErrorsFolder, StringComparison.Ordinal)))
        {
            string part = name[(OutputNames.ErrorsFolder.Length + 1)..^".jsonl".Length];
            _ = OutputNames.TryReadPart(part, plan.ShortHash, out PartId id);
            foreach (string line in Lines(name))
            {
                using var error = JsonDocument.Parse(line);
                string row = error.RootElement.GetProperty("id").GetString()!;
                string reason = error.RootElement.GetProperty("reason").GetString()!;
                seen.Add(row);
                // A row that is none of these was in parts that ended their nodes again and again, though it did not end them.
                string expected = RowFault.ReasonOf(world.Texts[row] is not { } text ? RowFaultKind.NullText
                    : text.Contains('#') ? RowFaultKind.TooManyTokens
                    : RowFaultKind.EndsProcess);
                bool isInnocent = world.Texts[row]?.Contains(ClusterWorld.Poison, StringComparison.Ordinal) == false && reason == RowFault.ReasonOf(RowFaultKind.EndsProcess);
                if (isInnocent ? world.AccidentsOf(id) < world.Policy.RowAttempts : reason != expected)
                {
                    return $"{name} has {row} for the reason {reason}.";
                }
            }
        }

        return null;
    }

    private string? OfManifest(BulkPlan plan, IReadOnlyList<PartRecord> records)
    {
        string[] names = [.. records.Select(record => OutputNames.PartOf(plan.ShortHash, record.Id))];
        if (!names.Order(StringComparer.Ordinal).SequenceEqual(PartFiles(VectorsEnd).Select(name => name[..^VectorsEnd.Length]).Order(StringComparer.Ordinal)))
        {
            return $"The manifest has the parts {string.Join(' ', names)}.";
        }

        foreach ((PartRecord record, string name) in records.Zip(names))
        {
            string errors = OutputNames.ErrorsOf(name);
            string? errorsHash = world.Disk.Names.Contains(errors) ? Hash(errors) : null;
            if (!record.Hashes.SequenceEqual([Hash(name + IdsEnd), Hash(name + VectorsEnd)]) || record.ErrorsHash != errorsHash)
            {
                return $"The manifest has other hashes than {name}.";
            }
        }

        return null;
    }

    private IEnumerable<string> PartFiles(string end) => world.Disk.Names.Where(name =>
        name.StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal) && name.EndsWith(end, StringComparison.Ordinal));

    private string Hash(string name) => FileContent.Hash(world.Disk.Read(name));

    private string[] Lines(string name) => Encoding.UTF8.GetString(world.Disk.Read(name)).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static string Bits(float[] vector) => string.Concat(vector.Select(number => $"{BitConverter.SingleToUInt32Bits(number):x8} "));
}
