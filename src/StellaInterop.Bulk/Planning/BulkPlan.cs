using System.Buffers;
using System.Globalization;
using System.Text.Json;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>
/// Represents everything that determines the output of a job: settings, fingerprints of the model, input files, chunks. Nothing in it is
/// measured, so that equal inputs have equal plans on every machine.
/// </summary>
internal sealed class BulkPlan
{
    private const int ShortHashLength = 8;

    /// <param name="settings">The settings by name, the fingerprints of the model included. Their order is kept.</param>
    /// <param name="files">The input files in order.</param>
    /// <param name="chunks">The chunks in order.</param>
    public BulkPlan(
        IReadOnlyList<KeyValuePair<string, string>> settings, IReadOnlyList<PlannedFile> files, IReadOnlyList<Chunk> chunks)
    {
        Settings = settings;
        Files = files;
        Chunks = chunks;
        var canonical = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(canonical))
        {
            Write(writer);
        }

        Hash = FileContent.Hash(canonical.WrittenSpan);
    }

    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; }

    public IReadOnlyList<PlannedFile> Files { get; }

    public IReadOnlyList<Chunk> Chunks { get; }

    /// <summary>Gets the SHA-256 of the plan in its canonical form, in lower case hexadecimal digits.</summary>
    public string Hash { get; }

    /// <summary>Gets the first digits of the hash, which are in the names of the parts.</summary>
    public string ShortHash => Hash[..ShortHashLength];

    /// <summary>Gets the number of rows, those at fault included.</summary>
    public long RowCount => Files.Sum(file => file.RowCount);

    /// <summary>Gets the estimated tokens.</summary>
    public long Tokens => Chunks.Sum(chunk => chunk.Tokens);

    /// <summary>Reads a plan.</summary>
    /// <exception cref="Exception">The element is not a plan: any exception of <see cref="JsonElement"/>.</exception>
    public static BulkPlan Read(JsonElement plan) => new(
        [.. plan.GetProperty("settings").EnumerateObject().Select(setting => KeyValuePair.Create(setting.Name, setting.Value.GetString()!))],
        [
            .. plan.GetProperty("files").EnumerateArray().Select(file => new PlannedFile(
                file.GetProperty("name").GetString()!,
                file.GetProperty("length").GetInt64(),
                file.GetProperty("sha256").GetString()!,
                file.GetProperty("rows").GetInt64())),
        ],
        [
            .. plan.GetProperty("chunks").EnumerateArray().Select(chunk => new Chunk(
                chunk[0].GetInt32(),
                new RowPosition(chunk[1].GetInt64(), chunk[2].GetInt64()),
                chunk[3].GetInt64(),
                chunk[4].GetInt64(),
                ulong.Parse(chunk[5].GetString()!, NumberStyles.HexNumber, CultureInfo.InvariantCulture))),
        ]);

    /// <summary>Writes the plan in its canonical form.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteStartObject("settings");
        foreach (KeyValuePair<string, string> setting in Settings)
        {
            writer.WriteString(setting.Key, setting.Value);
        }

        writer.WriteEndObject();
        writer.WriteStartArray("files");
        foreach (PlannedFile file in Files)
        {
            writer.WriteStartObject();
            writer.WriteString("name", file.Name);
            writer.WriteNumber("length", file.Length);
            writer.WriteString("sha256", file.Sha256);
            writer.WriteNumber("rows", file.RowCount);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        // A chunk is an array, because there are many: file, last row before it, offset, rows, tokens, checksum.
        writer.WriteStartArray("chunks");
        foreach (Chunk chunk in Chunks)
        {
            writer.WriteStartArray();
            writer.WriteNumberValue(chunk.File);
            writer.WriteNumberValue(chunk.Position.Number);
            writer.WriteNumberValue(chunk.Position.Offset);
            writer.WriteNumberValue(chunk.RowCount);
            writer.WriteNumberValue(chunk.Tokens);
            writer.WriteStringValue(chunk.Checksum.ToString("x16", CultureInfo.InvariantCulture));
            writer.WriteEndArray();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>Lists the settings that differ, each as <c>name: value here, value in the other plan</c>.</summary>
    public static IEnumerable<string> Differences(
        IReadOnlyList<KeyValuePair<string, string>> settings, IReadOnlyList<KeyValuePair<string, string>> others)
    {
        Dictionary<string, string> here = settings.ToDictionary();
        Dictionary<string, string> there = others.ToDictionary();
        return from name in settings.Concat(others).Select(setting => setting.Key).Distinct()
               let mine = here.GetValueOrDefault(name, "")
               let other = there.GetValueOrDefault(name, "")
               where mine != other
               select $"{name}: {Shown(mine)} here, {Shown(other)} in the output folder";
    }

    private static string Shown(string value) => value.Length == 0 ? "none" : value;
}
