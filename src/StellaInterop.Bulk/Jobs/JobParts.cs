using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Outputs;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents the parts of a job that tests replace.</summary>
/// <param name="Embedder">Computes the vectors.</param>
internal sealed record JobParts(IEmbedder Embedder)
{
    /// <summary>Opens the output folder.</summary>
    public Func<string, IOutputFolder> OpenFolder { get; init; } = static path => new DiskFolder(path);

    /// <summary>Returns the format of an input file; <see langword="null"/> if it is not known.</summary>
    public Func<string, IInputFormat?> FindFormat { get; init; } = InputFormats.Find;

    /// <summary>Returns the format of the parts.</summary>
    public Func<StellaBulkFormat, IPartFormat> FormatOf { get; init; } = PartFormats.Of;

    /// <summary>Returns a random number below another one; <see langword="null"/> for the system's.</summary>
    public Func<int, int>? Random { get; init; }

    public Safeguards Safeguards { get; init; } = Safeguards.All;

    /// <summary>The memory for the vectors of texts that may occur again.</summary>
    public long DuplicateBytes { get; init; } = 200 << 20;

    /// <summary>The largest number of rows that are in memory as one block.</summary>
    public int BlockRows { get; init; } = 10_000;

    /// <summary>The memory for the vectors of a block. Some blocks are in memory at once: one is written while others are computed and read.</summary>
    public long BlockBytes { get; init; } = 16 << 20;

    /// <summary>Finds the input files of a job.</summary>
    /// <exception cref="StellaBulkException">An input names no file.</exception>
    public IReadOnlyList<InputFile> FilesOf(StellaBulkOptions options) =>
        InputSet.Find(options.Inputs, options.Output, InputFormats.Of(options.InputFormat) is { } named ? _ => named : FindFormat);

    /// <summary>Returns the largest number of rows of a block.</summary>
    /// <param name="dimensions">The dimensions of the vectors of a row.</param>
    public int BlockRowsOf(IEnumerable<int> dimensions) =>
        (int)Math.Clamp(BlockBytes / (sizeof(float) * dimensions.Sum(dimension => (long)dimension)), 1, BlockRows);
}
