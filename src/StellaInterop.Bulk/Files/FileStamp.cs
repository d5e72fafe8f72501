namespace StellaInterop.Bulk.Files;

/// <summary>
/// Represents the length and the times of a file. Equal stamps of a path mean that the file is the same; different ones mean that its content
/// must be hashed to know.
/// </summary>
/// <param name="Length">The length in bytes.</param>
/// <param name="Modified">The time of the last write, in ticks of UTC.</param>
/// <param name="Created">The time at which the file was made, which tells a file from one that replaced it, in ticks of UTC.</param>
internal readonly record struct FileStamp(long Length, long Modified, long Created)
{
    /// <exception cref="IOException">The file does not exist, or the system refused it.</exception>
    public static FileStamp Of(string path)
    {
        var file = new FileInfo(path);
        // The stamp of a link is that of its target.
        if (file.LinkTarget is not null && file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target)
        {
            file = target;
        }

        return new FileStamp(file.Length, file.LastWriteTimeUtc.Ticks, file.CreationTimeUtc.Ticks);
    }
}
