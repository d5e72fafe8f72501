using System.Buffers;
using System.Text.Json;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents the counts of a part.</summary>
/// <param name="Rows">The rows with vectors.</param>
/// <param name="Tokens">The tokens that were used.</param>
/// <param name="Truncated">The rows whose texts were truncated.</param>
/// <param name="Errors">The rows at fault.</param>
internal readonly record struct PartCounts(long Rows, long Tokens, long Truncated, long Errors)
{
    public static PartCounts operator +(PartCounts left, PartCounts right) => new(
        left.Rows + right.Rows, left.Tokens + right.Tokens, left.Truncated + right.Truncated, left.Errors + right.Errors);
}

/// <summary>
/// Represents the record of a part: counts and hashes. It is in the folder before the part is, so that every part can be checked. Writers on
/// different processors may have different bits and then have different records; a part matches one of them.
/// </summary>
/// <param name="Id">The rows of the part.</param>
/// <param name="Counts">The counts.</param>
/// <param name="Hashes">The SHA-256 of the files of the part, in the order of their extensions.</param>
/// <param name="ErrorsHash">The SHA-256 of the file of the rows at fault; <see langword="null"/> without such a file.</param>
internal sealed record PartRecord(PartId Id, PartCounts Counts, IReadOnlyList<string> Hashes, string? ErrorsHash)
{
    /// <summary>Reads a record.</summary>
    /// <exception cref="Exception">The element is not a record: any exception of <see cref="JsonElement"/>.</exception>
    public static PartRecord Read(JsonElement record) => new(
        new PartId(record.GetProperty("chunk").GetInt32(), record.TryGetProperty("half", out JsonElement half) ? half.GetString()! : ""),
        new PartCounts(
            record.GetProperty("rows").GetInt64(),
            record.GetProperty("tokens").GetInt64(),
            record.GetProperty("truncated").GetInt64(),
            record.GetProperty("errors").GetInt64()),
        [.. record.GetProperty("sha256").EnumerateArray().Select(hash => hash.GetString()!)],
        record.GetProperty("errors_sha256").GetString());

    public byte[] ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            Write(writer);
        }

        return buffer.WrittenSpan.ToArray();
    }

    public void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteNumber("chunk", Id.Chunk);
        if (Id.Halves.Length > 0)
        {
            writer.WriteString("half", Id.Halves);
        }

        writer.WriteNumber("rows", Counts.Rows);
        writer.WriteNumber("tokens", Counts.Tokens);
        writer.WriteNumber("truncated", Counts.Truncated);
        writer.WriteNumber("errors", Counts.Errors);
        writer.WriteStartArray("sha256");
        foreach (string hash in Hashes)
        {
            writer.WriteStringValue(hash);
        }

        writer.WriteEndArray();
        writer.WriteString("errors_sha256", ErrorsHash);
        writer.WriteEndObject();
    }
}
