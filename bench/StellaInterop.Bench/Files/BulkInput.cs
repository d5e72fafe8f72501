using System.Globalization;
using System.IO.Compression;
using ZstdSharp;

namespace StellaInterop.Bench.Files;

/// <summary>A form of input files of bulk jobs.</summary>
/// <param name="Name">Name on the command line and in tables.</param>
/// <param name="FileName">Name of the file.</param>
/// <param name="Write">Writes texts to the path, with the numbers from 1 as ids.</param>
internal sealed record BulkInput(string Name, string FileName, Action<IEnumerable<string>, string> Write)
{
    public static IReadOnlyList<BulkInput> All { get; } =
    [
        new("jsonl", "input.jsonl", (texts, path) => WriteLines(texts.Select(Json), path, file => file)),
        new("gzip", "input.jsonl.gz", (texts, path) => WriteLines(texts.Select(Json), path, file => new GZipStream(file, CompressionLevel.Optimal))),
        new("zstd", "input.jsonl.zst", (texts, path) => WriteLines(texts.Select(Json), path, file => new CompressionStream(file, leaveOpen: false))),
        new("csv", "input.csv", WriteCsv),
        new("parquet", "input.parquet", WriteParquet),
        new("text", "input.txt", (texts, path) => WriteLines(texts, path, file => file)),
    ];

    /// <summary>Parses a comma-separated list of names.</summary>
    /// <exception cref="FormatException">A name is unknown. The message lists the known names.</exception>
    public static IReadOnlyList<BulkInput> ParseList(string list) =>
    [
        .. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(name =>
            All.FirstOrDefault(input => input.Name == name)
            ?? throw new FormatException($"Unknown format '{name}'. The formats are {string.Join(", ", All.Select(input => input.Name))}.")),
    ];

    private static string Json(string text, int index) =>
        string.Create(CultureInfo.InvariantCulture, $$"""{"id":"{{index + 1}}","text":"{{text}}"}""");

    private static void WriteCsv(IEnumerable<string> texts, string path) =>
        WriteLines(texts.Select((text, i) => string.Create(CultureInfo.InvariantCulture, $"{i + 1},{text}")).Prepend("id,text"), path, file => file);

    private static void WriteParquet(IEnumerable<string> texts, string path)
    {
        string csv = $"{path}.csv";
        WriteCsv(texts, csv);
        _ = DuckDb.Run($"COPY (SELECT * FROM read_csv('{csv}', all_varchar = true)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)");
        File.Delete(csv);
    }

    /// <summary>Writes lines. The texts are letters and spaces, so no form has to escape them.</summary>
    private static void WriteLines(IEnumerable<string> lines, string path, Func<Stream, Stream> pack)
    {
        using FileStream file = File.Create(path);
        using Stream content = pack(file);
        using var writer = new StreamWriter(content) { NewLine = "\n" };
        foreach (string line in lines)
        {
            writer.WriteLine(line);
        }
    }
}
