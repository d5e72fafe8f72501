using StellaInterop.Bulk.Files;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Represents a file among the inputs.</summary>
/// <param name="Path">The full path.</param>
/// <param name="Name">
/// The path from the folder that all inputs have in common, with <c>/</c>. It is the same wherever that folder is.
/// </param>
/// <param name="Format">The format.</param>
internal sealed record InputFile(string Path, string Name, IInputFormat Format)
{
    /// <summary>Opens the file for reading.</summary>
    /// <exception cref="StellaBulkException">The file cannot be opened, or is not a regular file.</exception>
    public Stream OpenRead()
    {
        FileStream stream = Guarded(Open);
        if (stream.CanSeek)
        {
            return stream;
        }

        stream.Dispose();
        throw Unreadable("is a pipe or a device. A job reads its input again when it continues, so copy the input to a file.");
    }

    /// <summary>Opens the content for its format, which reads rows one after the other from uncompressed bytes.</summary>
    /// <exception cref="StellaBulkException">The file cannot be opened, or is not a regular file.</exception>
    public Stream OpenContent() => Format.Access == InputAccess.Random ? OpenRead() : CompressedContent.Unpack(Name, OpenRead());

    /// <summary>Returns the stamp of the file.</summary>
    /// <exception cref="StellaBulkException">The file cannot be found.</exception>
    public FileStamp ReadStamp() => Guarded(() => FileStamp.Of(Path));

    /// <summary>Returns the length and the SHA-256 of the file.</summary>
    /// <exception cref="StellaBulkException">The file cannot be read.</exception>
    public (long Length, string Sha256) Hash(CancellationToken cancellationToken) => Guarded(() =>
    {
        using Stream content = OpenRead();
        string hash = FileContent.Hash(content, cancellationToken);
        return (content.Position, hash);
    });

    /// <summary>Runs an action on the file, and names the file in its I/O errors.</summary>
    public T Guarded<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(e);
        }
    }

    /// <summary>Creates the error of a file that the system does not read.</summary>
    public StellaBulkException Unreadable(Exception cause) =>
        Unreadable($"cannot be read: {cause.Message.TrimEnd('.')}. Check that it exists and that you may read it.", cause);

    private FileStream Open() => OperatingSystem.IsWindows()
        ? new FileStream(Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0)
        : Posix.OpenRead(Path);

    private StellaBulkException Unreadable(string fault, Exception? cause = null) =>
        new(StellaBulkErrorCode.InputUnreadable, $"The input file '{Path}' {fault}", cause);
}
