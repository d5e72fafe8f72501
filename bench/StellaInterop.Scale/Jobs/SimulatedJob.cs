using System.Globalization;
using System.Text.Json;
using StellaInterop.Bench.Terminal;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Scale.Workers;

namespace StellaInterop.Scale.Jobs;

/// <summary>Represents the job of a simulation: a small input with as many chunks as a large one, and the output.</summary>
internal sealed class SimulatedJob
{
    private const int RowsOfChunk = 4;

    private readonly StellaBulkOptions options;
    private readonly int chunkCount;

    /// <summary>Writes the input.</summary>
    /// <param name="folder">The folder for input and output.</param>
    /// <param name="chunkCount">The number of chunks.</param>
    public SimulatedJob(string folder, int chunkCount)
    {
        this.chunkCount = chunkCount;
        string input = Path.Combine(folder, "input.jsonl");
        File.WriteAllLines(input, Enumerable.Range(0, chunkCount * RowsOfChunk).Select(row => JsonSerializer.Serialize(new { id = IdOf(row), text = TextOf(row) })));
        long rowTokens = TokenEstimate.Of(new InputRow(0, null, TextOf(0), null), SimulatedEmbedder.Info.MaxTokens);
        options = new StellaBulkOptions
        {
            Inputs = [input],
            Output = Path.Combine(folder, "output"),
            Format = StellaBulkFormat.JsonLines,
            ChunkTokens = (int)rowTokens * RowsOfChunk,
        };
    }

    public string Output => options.Output;

    /// <summary>Gets the job as a user submits it.</summary>
    public JobRequest Request => JobRequest.Of(options, JobSettings.Of(options, SimulatedEmbedder.Info));

    /// <summary>Makes the plan, as the first node of a job does.</summary>
    public void Plan(IEmbedder embedder)
    {
        using var setup = new JobSetup(options, new JobParts(embedder));
        PreparedJob prepared = setup.Prepare(SimulatedEmbedder.Info, keepsCopies: false, _ => { }, CancellationToken.None);
        _ = setup.OpenOutput(prepared.Manifest, SimulatedEmbedder.Info);
        if (prepared.Manifest.Plan.Chunks.Count != chunkCount)
        {
            throw new BenchException($"The plan has {prepared.Manifest.Plan.Chunks.Count} chunks instead of {chunkCount}.");
        }
    }

    /// <summary>Reads the output.</summary>
    public OutputFigures Read()
    {
        using var folder = new DiskFolder(options.Output);
        JobManifest manifest = OutputOwner.ReadManifest(folder)!;
        string[] names = [.. Directory.EnumerateFiles(options.Output, "*", SearchOption.AllDirectories)];
        string[] parts = [.. names.Where(name => Path.GetFileName(name).StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal) && Path.GetDirectoryName(name) == options.Output)];
        var counts = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string line in parts.SelectMany(File.ReadLines))
        {
            using var row = JsonDocument.Parse(line);
            string id = row.RootElement.GetProperty("id").ToString();
            counts[id] = counts.GetValueOrDefault(id) + 1;
        }

        bool isExact = counts.Count == chunkCount * RowsOfChunk
            && counts.Values.All(count => count == 1)
            && manifest.Parts?.Count == parts.Length
            && manifest.Parts.Sum(part => part.Counts.Errors) == 0
            && File.Exists(Path.Combine(options.Output, OutputNames.Success));
        return new OutputFigures(names.Length, parts.Length, new FileInfo(Path.Combine(options.Output, OutputNames.Manifest)).Length, isExact);
    }

    private static string IdOf(int row) => row.ToString("D8", CultureInfo.InvariantCulture);

    private static string TextOf(int row) => $"the text of row {IdOf(row)}";
}

/// <summary>Represents a complete output.</summary>
/// <param name="FileCount">All files.</param>
/// <param name="PartCount">The files with vectors.</param>
/// <param name="ManifestBytes">The bytes of the manifest with the records of all parts.</param>
/// <param name="IsExact">Whether each row of the input is there once, none is at fault, and the manifest has each part.</param>
internal sealed record OutputFigures(int FileCount, int PartCount, long ManifestBytes, bool IsExact);
