using System.Buffers;
using System.Text.Json;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents <c>_manifest.json</c>: the plan of a job, and the record of each part once the output is complete.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Stamps">
/// The stamps of the input files when they were read. They are no part of the plan: a file with another stamp is hashed.
/// </param>
/// <param name="Parts">The record of each part in order; <see langword="null"/> until the output is complete.</param>
internal sealed record JobManifest(BulkPlan Plan, IReadOnlyList<FileStamp> Stamps, IReadOnlyList<PartRecord>? Parts = null)
{
    private const int Version = 1;

    /// <summary>Reads a manifest.</summary>
    /// <exception cref="InvalidDataException">The file is not a manifest, is damaged, or is of another version. The message is a clause.</exception>
    public static JobManifest Read(Stream content)
    {
        try
        {
            using var document = JsonDocument.Parse(content);
            JsonElement root = document.RootElement;
            if (root.GetProperty("version").GetInt32() != Version)
            {
                throw new InvalidDataException("is of another version of this program");
            }

            BulkPlan plan = BulkPlan.Read(root.GetProperty("plan"));
            FileStamp[] stamps =
            [
                .. root.GetProperty("stamps").EnumerateArray().Select(
                    stamp => new FileStamp(stamp[0].GetInt64(), stamp[1].GetInt64(), stamp[2].GetInt64())),
            ];
            PartRecord[]? parts = root.TryGetProperty("parts", out JsonElement records)
                ? [.. records.EnumerateArray().Select(PartRecord.Read)]
                : null;
            return plan.Hash == root.GetProperty("plan_hash").GetString() && stamps.Length == plan.Files.Count
                ? new JobManifest(plan, stamps, parts)
                : throw new InvalidDataException("does not match its own hash");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or IndexOutOfRangeException)
        {
            throw new InvalidDataException("is not a manifest of a bulk job", e);
        }
    }

    public void Write(Stream content)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteNumber("version", Version);
            writer.WriteString("plan_hash", Plan.Hash);
            if (Parts is not null)
            {
                PartCounts sum = Parts.Aggregate(default(PartCounts), (total, part) => total + part.Counts);
                writer.WriteNumber("rows", sum.Rows);
                writer.WriteNumber("tokens", sum.Tokens);
                writer.WriteNumber("truncated", sum.Truncated);
                writer.WriteNumber("errors", sum.Errors);
            }

            writer.WritePropertyName("plan");
            Plan.Write(writer);
            writer.WriteStartArray("stamps");
            foreach (FileStamp stamp in Stamps)
            {
                writer.WriteStartArray();
                writer.WriteNumberValue(stamp.Length);
                writer.WriteNumberValue(stamp.Modified);
                writer.WriteNumberValue(stamp.Created);
                writer.WriteEndArray();
            }

            writer.WriteEndArray();
            if (Parts is not null)
            {
                writer.WriteStartArray("parts");
                foreach (PartRecord part in Parts)
                {
                    part.Write(writer);
                }

                writer.WriteEndArray();
            }

            writer.WriteEndObject();
        }

        content.Write(buffer.WrittenSpan);
    }
}
