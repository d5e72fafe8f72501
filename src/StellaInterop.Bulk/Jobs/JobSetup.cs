using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Jobs;

/// <summary>Represents what the options of a job stand for on this machine: input files, output folder, formats.</summary>
internal sealed class JobSetup : IDisposable
{
    private readonly StellaBulkOptions options;

    /// <exception cref="StellaBulkException">An input names no file.</exception>
    public JobSetup(StellaBulkOptions options, JobParts parts)
    {
        this.options = options;
        Parts = parts;
        Columns = new InputColumns(options.TextColumn, options.IdColumn);
        Format = parts.FormatOf(options.Format);
        Files = parts.FilesOf(options);
        Folder = parts.OpenFolder(options.Output);
        Copies = new InputCopies(Folder);
    }

    public JobParts Parts { get; }

    public IReadOnlyList<InputFile> Files { get; }

    public InputColumns Columns { get; }

    public IOutputFolder Folder { get; }

    public IPartFormat Format { get; }

    public InputCopies Copies { get; }

    public void Dispose() => Folder.Dispose();

    /// <summary>Returns the settings of the job with a model.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> SettingsOf(EmbedderInfo model) => JobSettings.Of(options, model, Parts.Safeguards);

    public PartSchema SchemaOf(EmbedderInfo model) => new(model.Dimensions, options.VectorType);

    /// <summary>Reads the plan of the output folder, or makes it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="keepsCopies">Whether compressed inputs are copied while they are read.</param>
    /// <param name="report">Receives the number of rows that were read so far.</param>
    /// <param name="cancellationToken">A token that stops the planning.</param>
    public PreparedJob Prepare(EmbedderInfo model, bool keepsCopies, Action<long> report, CancellationToken cancellationToken)
    {
        var scan = new PlanScan(Files, Columns, options.ChunkTokens, model.MaxTokens, keepsCopies ? Copies.Begin : null);
        return Output(() => PreparedJob.Create(Folder, SettingsOf(model), scan, report, Parts.Safeguards, cancellationToken));
    }

    /// <summary>Begins the job in the output folder, or continues it.</summary>
    public JobOutput OpenOutput(JobManifest manifest, EmbedderInfo model) =>
        Output(() => JobOutput.Open(Folder, manifest, Format.ExtensionsOf(SchemaOf(model)), Parts.Safeguards));

    /// <summary>Runs an action on the output folder, and makes its I/O errors those of a job.</summary>
    public T Output<T>(Func<T> action) => OutputErrors.Guarded(Folder.Path, action);

    /// <inheritdoc cref="Output{T}"/>
    public void Output(Action action) => OutputErrors.Guarded(Folder.Path, () =>
    {
        action();
        return true;
    });
}
