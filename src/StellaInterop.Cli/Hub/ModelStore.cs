using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Specifies the kind of files in a snapshot of the Hugging Face cache.</summary>
internal enum SnapshotFiles
{
    /// <summary>Symbolic links to blobs.</summary>
    Links,

    /// <summary>Copies of blobs, for file systems that are shared with Windows.</summary>
    Copies,
}

/// <summary>Stores a downloaded model.</summary>
internal abstract class ModelStore
{
    /// <summary>Gets the folder of the model.</summary>
    public abstract string Folder { get; }

    /// <summary>Returns the path of the content of a complete and verified file.</summary>
    public abstract string GetContentPath(HubFile file);

    /// <summary>Returns the path of a file during its download.</summary>
    public abstract string GetPartialPath(HubFile file);

    /// <summary>Adds a verified file to <see cref="Folder"/>.</summary>
    public abstract void Publish(HubFile file);

    /// <summary>Completes the store after all files are published.</summary>
    public abstract void Complete();

    /// <summary>
    /// Returns a name that changes with the content, so that a partial file is never continued with other content.
    /// </summary>
    protected static string GetContentName(HubFile file, string commit) => file.PublishedHash
        ?? Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{commit}/{file.Path}")));
}

/// <summary>Stores a model in the Hugging Face cache, in the layout that other tools share.</summary>
/// <param name="cache">The cache.</param>
/// <param name="model">The repository.</param>
/// <param name="revision">The revision.</param>
/// <param name="commit">The commit of the revision.</param>
/// <param name="snapshotFiles">The kind of files in the snapshot.</param>
internal sealed class CacheStore(HuggingFaceCache cache, string model, string revision, string commit, SnapshotFiles snapshotFiles) : ModelStore
{
    private readonly string repository = cache.GetRepositoryFolder(model);

    public override string Folder => Path.Combine(repository, "snapshots", commit);

    public override string GetContentPath(HubFile file) => Path.Combine(repository, "blobs", GetContentName(file, commit));

    public override string GetPartialPath(HubFile file) => GetContentPath(file) + ".incomplete";

    public override void Publish(HubFile file)
    {
        string entry = Path.Combine(Folder, file.Path);
        string parent = Path.GetDirectoryName(entry)!;
        Directory.CreateDirectory(parent);
        string content = GetContentPath(file);
        string target = Path.GetRelativePath(parent, content);
        if (snapshotFiles == SnapshotFiles.Links && new FileInfo(entry).LinkTarget == target)
        {
            return;
        }

        string temporary = $"{entry}.{Guid.NewGuid():N}.tmp";
        if (snapshotFiles == SnapshotFiles.Copies || !TryLink(temporary, target))
        {
            // A copy needs twice the space but gives the same model.
            File.Copy(content, temporary);
        }

        File.Move(temporary, entry, overwrite: true);
    }

    /// <summary>Creates a link. Windows may not permit links, and Wine reports success without making one.</summary>
    private static bool TryLink(string path, string target)
    {
        try
        {
            File.CreateSymbolicLink(path, target);
            return File.Exists(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    public override void Complete()
    {
        if (HuggingFaceCache.IsCommit(revision))
        {
            return;
        }

        string reference = Path.Combine(repository, "refs", revision);
        Directory.CreateDirectory(Path.GetDirectoryName(reference)!);
        string temporary = $"{reference}.{Guid.NewGuid():N}.tmp";
        File.WriteAllText(temporary, commit);
        File.Move(temporary, reference, overwrite: true);
    }
}

/// <summary>Stores a model as plain files in a folder.</summary>
internal sealed class FolderStore(string folder, string commit) : ModelStore
{
    private readonly string partials = Path.Combine(folder, ".stella-download");

    public override string Folder => folder;

    public override string GetContentPath(HubFile file) => Path.Combine(folder, file.Path);

    public override string GetPartialPath(HubFile file) => Path.Combine(partials, GetContentName(file, commit) + ".incomplete");

    public override void Publish(HubFile file)
    {
        // The content path is already in the folder.
    }

    public override void Complete()
    {
        // The folder may still contain partial files of other runs.
        if (Directory.Exists(partials) && !Directory.EnumerateFileSystemEntries(partials).Any())
        {
            Directory.Delete(partials);
        }
    }
}
