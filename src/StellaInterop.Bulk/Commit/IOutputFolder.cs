namespace StellaInterop.Bulk.Commit;

/// <summary>Represents a new file that has no final name yet. Disposing it deletes it, unless it got its name.</summary>
internal interface ITemporaryFile : IDisposable
{
    /// <summary>Gets the content, which can seek.</summary>
    Stream Content { get; }

    /// <summary>Waits until the content is on the disk.</summary>
    void Flush();
}

/// <summary>Represents the output folder of a job, with the few operations that a commit consists of.</summary>
/// <remarks>
/// Names are relative, with <c>/</c>. I/O errors leave the methods as <see cref="IOException"/> or
/// <see cref="UnauthorizedAccessException"/>. Thread-safe.
/// </remarks>
internal interface IOutputFolder : IDisposable
{
    /// <summary>Gets the path for messages.</summary>
    string Path { get; }

    /// <summary>Returns the names of the files and folders in a folder; empty if it does not exist.</summary>
    /// <param name="folder">The folder; empty for the output folder itself.</param>
    IReadOnlyList<string> List(string folder);

    /// <summary>Creates a folder in the output folder, and the output folder itself, unless it exists.</summary>
    void CreateFolder(string folder);

    bool Exists(string name);

    /// <summary>Opens a file for reading.</summary>
    /// <exception cref="FileNotFoundException">The file does not exist.</exception>
    Stream OpenRead(string name);

    /// <summary>Creates a file without a final name.</summary>
    ITemporaryFile CreateTemporary();

    /// <summary>Gives a temporary file its name, unless the name is taken. The file system decides it in one step.</summary>
    /// <returns><see langword="false"/> if the name is taken.</returns>
    bool TryPublish(ITemporaryFile file, string name);

    /// <summary>
    /// Gives a file another name, unless the name is taken. The file system decides it in one step. The old name may remain, so that the new
    /// one can be flushed before the old one is deleted.
    /// </summary>
    /// <returns><see langword="false"/> if the name is taken or the file does not exist.</returns>
    bool TryRename(string name, string newName);

    /// <summary>Deletes a file, if it exists.</summary>
    void Delete(string name);

    /// <summary>
    /// Deletes a folder, if it exists. All of its files disappear in one step: no process finds some of the names free and the folder still
    /// there.
    /// </summary>
    void DeleteFolder(string folder);

    /// <summary>Gives a temporary file its name in one step. A file that has the name disappears.</summary>
    void Replace(ITemporaryFile file, string name);

    /// <summary>Waits until the names in a folder are on the disk.</summary>
    /// <param name="folder">The folder; empty for the output folder itself.</param>
    void FlushFolder(string folder);

    /// <summary>Deletes the temporary files of processes that have ended.</summary>
    void DeleteAbandoned();
}
