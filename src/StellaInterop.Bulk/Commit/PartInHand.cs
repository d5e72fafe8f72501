using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents a part that is being written. Disposing it deletes the files that did not get their names.</summary>
internal sealed class PartInHand : IDisposable
{
    private readonly Func<ITemporaryFile> create;
    private readonly List<ITemporaryFile> scratch = [];

    /// <param name="id">The rows of the part.</param>
    /// <param name="files">The files of the part.</param>
    /// <param name="create">Creates a further file.</param>
    public PartInHand(PartId id, IEnumerable<ITemporaryFile> files, Func<ITemporaryFile> create)
    {
        Id = id;
        this.create = create;
        try
        {
            foreach (ITemporaryFile file in files)
            {
                Files.Add(file);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public PartId Id { get; }

    /// <summary>Gets the files in the order of their extensions.</summary>
    public List<ITemporaryFile> Files { get; } = [];

    /// <summary>Gets the file of the rows at fault; <see langword="null"/> before the first of them.</summary>
    public ITemporaryFile? Errors { get; private set; }

    /// <summary>Creates a file that is no part of the output.</summary>
    public Stream OpenScratch()
    {
        scratch.Add(create());
        return scratch[^1].Content;
    }

    /// <summary>Returns the file with the rows at fault, and creates it at the first call.</summary>
    public Stream OpenErrors() => (Errors ??= create()).Content;

    public void Dispose()
    {
        foreach (ITemporaryFile file in Files.Concat(scratch))
        {
            file.Dispose();
        }

        Errors?.Dispose();
    }
}
