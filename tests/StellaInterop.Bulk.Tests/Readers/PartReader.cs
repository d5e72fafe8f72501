using System.Diagnostics;
using System.Text.Json;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Readers;

/// <summary>A program that reads a format of parts without code of this project.</summary>
/// <param name="Name">The name of the program.</param>
/// <param name="Format">The format.</param>
/// <param name="Read">Returns the rows of a part by the path of its files without their ends.</param>
internal sealed record PartReader(string Name, StellaBulkFormat Format, Func<string, ReadRow[]> Read)
{
    /// <summary>
    /// Gets the readers. Readers in other languages are included if STELLA_CLIENTS names the folder in which
    /// <c>dotnet cake --target=PartReaders</c> installed them.
    /// </summary>
    public static IEnumerable<PartReader> Installed { get; } =
        Environment.GetEnvironmentVariable("STELLA_CLIENTS") is { Length: > 0 } folder
            ? [Duck(), Jsonl(), Hyparquet(Path.Combine(Path.GetFullPath(folder, SourceTree.Root), "readers")), NumPy()]
            : [Duck(), Jsonl()];

    public override string ToString() => Name;

    private static PartReader Duck() => new("DuckDB", StellaBulkFormat.Parquet, part =>
    {
        // A file of 8-bit integers has a column with their scale.
        bool hasScale = DuckDb.Query($"{part}.parquet", "SELECT name FROM parquet_schema($file)").Any(row => row[0] is "embedding_scale");
        return
        [
            .. DuckDb.Query($"{part}.parquet", $"SELECT id, embedding, {(hasScale ? "embedding_scale" : "NULL")} FROM $file")
                .Select(row => new ReadRow((string)row[0]!, Numbers(row[1]!), row[2] as float?)),
        ];
    });

    private static PartReader Jsonl() => new("System.Text.Json", StellaBulkFormat.JsonLines, part =>
        [.. File.ReadLines($"{part}.jsonl").Select(line => ToRow(JsonSerializer.Deserialize<JsonElement>(line), "scale"))]);

    private static PartReader Hyparquet(string folder) => new("hyparquet", StellaBulkFormat.Parquet, part =>
        [.. Run("node", Path.Combine(folder, "read-parquet.mjs"), $"{part}.parquet").EnumerateArray().Select(row => ToRow(row, "embedding_scale"))]);

    private static PartReader NumPy() => new("NumPy", StellaBulkFormat.Npy, part =>
    {
        JsonElement array = Run("/usr/bin/python3", Path.Combine(SourceTree.Root, "tests/StellaInterop.Bulk.Tests/Readers/read-npy.py"), $"{part}.npy");
        JsonElement[] ids = [.. File.ReadLines($"{part}.ids.jsonl").Select(line => JsonSerializer.Deserialize<JsonElement>(line))];
        return [.. ids.Zip(array.GetProperty("numbers").EnumerateArray(), (row, numbers) => new ReadRow(row.GetProperty("id").GetString()!, Numbers(numbers), ScaleOf(row, "scale")))];
    });

    private static JsonElement Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, $"{program} {string.Join(' ', arguments)}");
        return JsonSerializer.Deserialize<JsonElement>(output);
    }

    private static ReadRow ToRow(JsonElement row, string scale) =>
        new(row.GetProperty("id").GetString()!, Numbers(row.GetProperty("embedding")), ScaleOf(row, scale));

    private static double? ScaleOf(JsonElement row, string name) => row.TryGetProperty(name, out JsonElement scale) ? scale.GetDouble() : null;

    private static double[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(number => number.GetDouble())];

    private static double[] Numbers(object value) => value is List<float> list ? [.. list.Select(x => (double)x)] : [.. ((byte[])value).Select(x => (double)x)];
}

/// <summary>A row that another program read from a part.</summary>
/// <param name="Id">The id.</param>
/// <param name="Numbers">The numbers of the vector, or its bytes.</param>
/// <param name="Scale">The scale of 8-bit integers.</param>
internal sealed record ReadRow(string Id, double[] Numbers, double? Scale);
