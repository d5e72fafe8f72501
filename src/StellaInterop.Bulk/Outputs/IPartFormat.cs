namespace StellaInterop.Bulk.Outputs;

/// <summary>Represents a file format of parts. Formats are stateless and thread-safe.</summary>
internal interface IPartFormat
{
    /// <summary>Gets the format in the options.</summary>
    StellaBulkFormat Format { get; }

    /// <summary>
    /// Returns the ends of the names of the files of a part, such as <c>.parquet</c>, or <c>.ids.jsonl</c> and <c>.npy</c>. The files get their
    /// names in this order, so that a part is complete as soon as its last file is there.
    /// </summary>
    IReadOnlyList<string> ExtensionsOf(PartSchema schema);

    /// <summary>Creates a writer.</summary>
    /// <param name="schema">The columns.</param>
    /// <param name="files">
    /// An empty stream for each of <see cref="ExtensionsOf"/>. The streams can seek, and the caller disposes them.
    /// </param>
    /// <param name="createScratch">Creates an empty file for bytes that wait. It can seek, and the caller disposes it with the streams.</param>
    IPartWriter Create(PartSchema schema, IReadOnlyList<Stream> files, Func<Stream> createScratch);
}

/// <summary>Writes one part. Equal rows give equal bytes: a part holds nothing of time, machine or version of the writer.</summary>
/// <remarks>
/// I/O errors of the streams leave the methods as they are. <see cref="IDisposable.Dispose"/> frees memory; without
/// <see cref="Complete"/> before it, the files are garbage, which is right for a part that was given up. Not thread-safe.
/// </remarks>
internal interface IPartWriter : IDisposable
{
    /// <summary>
    /// Writes rows. The cut of rows into calls changes no byte of the part. None of the memory of the rows is used after the call. A part
    /// without rows has no calls.
    /// </summary>
    void Write(PartRows rows);

    /// <summary>Writes the end of the files. The streams are complete afterwards, and not disposed.</summary>
    void Complete();
}
