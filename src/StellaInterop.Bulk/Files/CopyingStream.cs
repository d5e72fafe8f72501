namespace StellaInterop.Bulk.Files;

/// <summary>A stream that copies what is read from another one.</summary>
/// <param name="content">The other stream, which this stream disposes.</param>
internal abstract class CopyingStream(Stream content) : ReadOnlyStream(content)
{
    /// <summary>Keeps the copy of a content that was read to its end. Disposal deletes a copy that was not kept.</summary>
    /// <param name="sha256">The hash of the file that has the content.</param>
    public abstract void Keep(string sha256);
}
