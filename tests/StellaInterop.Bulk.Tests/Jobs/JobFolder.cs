using System.Text;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

/// <summary>Input files and an output folder on disk, with jobs of the formats of the tests.</summary>
internal sealed class JobFolder : IDisposable
{
    /// <summary>The number of rows of <see cref="ManyRows"/>, unless a test gives another one.</summary>
    public const int RowCount = 60;

    private readonly TemporaryFolder folder = new();

    /// <summary>Gets the ids of <see cref="ManyRows"/>.</summary>
    public static string[] AllIds => [.. Enumerable.Range(0, RowCount).Select(i => $"id{i}")];

    public TestRows Rows { get; } = new();

    public string OutputPath => folder.File("out");

    public StellaBulkOptions Options => new()
    {
        Inputs = [folder.File("in")],
        Output = OutputPath,
        Format = StellaBulkFormat.JsonLines,
        ChunkTokens = 40,
    };

    /// <summary>Gets the names and contents of all files that readers of the output read.</summary>
    public Dictionary<string, string> Parts => Files()
        .Where(file => Path.GetFileName(file).StartsWith("part-", StringComparison.Ordinal) && !file.Contains("_records", StringComparison.Ordinal))
        .ToDictionary(file => Path.GetRelativePath(OutputPath, file), File.ReadAllText);

    /// <summary>Gets the manifest of the output.</summary>
    public JobManifest Manifest
    {
        get
        {
            using var output = new DiskFolder(OutputPath);
            return OutputOwner.ReadManifest(output)!;
        }
    }

    public bool IsComplete => File.Exists(Path.Combine(OutputPath, OutputNames.Success));

    /// <summary>Gets the temporary files that are left over.</summary>
    public IEnumerable<string> Temporaries => Files().Where(file => file.Contains("_tmp", StringComparison.Ordinal));

    /// <summary>Gets the ids of the output in the order of its parts.</summary>
    public string[] Ids =>
    [
        .. Parts.Where(part => part.Key.EndsWith(".ids", StringComparison.Ordinal)).OrderBy(part => part.Key, StringComparer.Ordinal)
            .SelectMany(part => part.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)).Select(line => line.Split(' ')[0]),
    ];

    /// <summary>Gets the bits of the vectors in the order of the parts.</summary>
    public string Vectors => string.Concat(
        Parts.Where(part => part.Key.EndsWith(".vectors", StringComparison.Ordinal)).OrderBy(part => part.Key, StringComparer.Ordinal).Select(part => part.Value));

    /// <summary>Gets the lines of the rows at fault.</summary>
    public string[] Errors =>
    [
        .. Parts.Where(part => part.Key.StartsWith("_errors", StringComparison.Ordinal)).OrderBy(part => part.Key, StringComparer.Ordinal)
            .SelectMany(part => part.Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)),
    ];

    public string InputFile(string name) => folder.File("in/" + name);

    public JobFolder Input(string name, params IEnumerable<string> lines)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(InputFile(name))!);
        File.WriteAllText(InputFile(name), string.Concat(lines.Select(line => line + "\n")), new UTF8Encoding(false));
        return this;
    }

    /// <summary>Writes an input of many rows, in two files.</summary>
    public JobFolder ManyRows(int count = RowCount) => Input("a.rows", Lines(0, count / 2)).Input("b.rows", Lines(count / 2, count));

    public StellaBulkJob Job(IEmbedder embedder, Func<StellaBulkOptions, StellaBulkOptions>? options = null, Func<JobParts, JobParts>? parts = null) =>
        new(parts?.Invoke(PartsOf(embedder)) ?? PartsOf(embedder), options?.Invoke(Options) ?? Options);

    public Task<StellaBulkResult> RunAsync(
        IEmbedder? embedder = null, Func<StellaBulkOptions, StellaBulkOptions>? options = null, Func<JobParts, JobParts>? parts = null) =>
        Job(embedder ?? new TestEmbedder(), options, parts).RunAsync();

    /// <summary>Makes some parts and leaves the job, as the nodes of a cluster may.</summary>
    public async Task MakeAsync(params PartId[] parts)
    {
        var embedder = new TestEmbedder();
        using var setup = new JobSetup(Options, PartsOf(embedder));
        JobOutput output = setup.OpenOutput(setup.Prepare(embedder.Info, keepsCopies: true, static _ => { }, CancellationToken.None).Manifest, embedder.Info);
        await new PartPipeline(setup, output, embedder.Info, embedder, new GivenParts(parts)).RunAsync(CancellationToken.None);
    }

    public void Dispose() => folder.Dispose();

    private JobParts PartsOf(IEmbedder embedder) => new(embedder)
    {
        FindFormat = name => name.EndsWith(".rows", StringComparison.Ordinal) ? Rows : null,
        FormatOf = _ => new TestParts(),
        BlockRows = 3,
    };

    private static IEnumerable<string> Lines(int from, int to) => Enumerable.Range(from, to - from).Select(i => $"id{i}|this is the text of row {i}");

    private IEnumerable<string> Files() =>
        Directory.Exists(OutputPath) ? Directory.EnumerateFiles(OutputPath, "*", SearchOption.AllDirectories) : [];

    /// <summary>Gives a pipeline the parts of a list.</summary>
    private sealed class GivenParts(IEnumerable<PartId> parts) : IPartWork
    {
        private readonly Queue<PartId> left = new(parts);

        public ValueTask<PartTask?> TakeAsync(CancellationToken stop) => ValueTask.FromResult(left.TryDequeue(out PartId part) ? new PartTask(part) : null);

        public bool IsWanted(PartTask task) => true;

        public ValueTask GivenUpAsync(PartTask task) => ValueTask.CompletedTask;

        public void Embedded(int rows, long tokens)
        {
        }

        public void Failed(PartTask task, Exception error)
        {
        }

        public ValueTask DoneAsync(PartTask task, PartCounts counts, bool isCommitted, string? lastFault) => ValueTask.CompletedTask;
    }
}
