using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Where a downloaded model is put.</summary>
internal abstract class ModelStore
{
    /// <summary>The model's folder.</summary>
    public abstract string Folder { get; }

    /// <summary>Where the content of a file lies when it is whole and checked.</summary>
    public abstract string ContentPath(HubFile file);

    /// <summary>Where it lies while it is fetched.</summary>
    public abstract string PartialPath(HubFile file);

    /// <summary>Makes a checked content appear in <see cref="Folder"/>.</summary>
    public abstract void Publish(HubFile file);

    /// <summary>Called when every file is there.</summary>
    public abstract void Complete();

    /// <summary>A name that changes when the content does, so that a partial file is never continued with another content.</summary>
    protected static string ContentName(HubFile file, string commit) => file.PublishedHash
        ?? Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{commit}/{file.Path}")));
}

/// <summary>The Hugging Face cache, as other tools share it.</summary>
/// <param name="cache">The cache.</param>
/// <param name="model">The repository.</param>
/// <param name="revision">The revision.</param>
/// <param name="commit">The commit that it is.</param>
/// <param name="isWithoutLinks">Whether a snapshot gets copies, for file systems that are shared with Windows.</param>
internal sealed class CacheStore(HuggingFaceCache cache, string model, string revision, string commit, bool isWithoutLinks) : ModelStore
{
    private readonly string repository = cache.GetRepositoryFolder(model);

    public override string Folder => Path.Combine(repository, "snapshots", commit);

    public override string ContentPath(HubFile file) => Path.Combine(repository, "blobs", ContentName(file, commit));

    public override string PartialPath(HubFile file) => ContentPath(file) + ".incomplete";

    public override void Publish(HubFile file)
    {
        string entry = Path.Combine(Folder, file.Path);
        string parent = Path.GetDirectoryName(entry)!;
        Directory.CreateDirectory(parent);
        string content = ContentPath(file);
        string target = Path.GetRelativePath(parent, content);
        if (!isWithoutLinks && new FileInfo(entry).LinkTarget == target)
        {
            return;
        }

        string temporary = $"{entry}.{Guid.NewGuid():N}.tmp";
        try
        {
            if (isWithoutLinks)
            {
                File.Copy(content, temporary);
            }
            else
            {
                File.CreateSymbolicLink(temporary, target);
            }
        }
        catch (Exception e) when (!isWithoutLinks && e is (IOException or UnauthorizedAccessException))
        {
            // Windows without the right to make links. It costs the space twice and gives the same model.
            File.Copy(content, temporary);
        }

        File.Move(temporary, entry, overwrite: true);
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

/// <summary>A folder with plain files.</summary>
internal sealed class FolderStore(string folder, string commit) : ModelStore
{
    private readonly string partials = Path.Combine(folder, ".stella-download");

    public override string Folder => folder;

    public override string ContentPath(HubFile file) => Path.Combine(folder, file.Path);

    public override string PartialPath(HubFile file) => Path.Combine(partials, ContentName(file, commit) + ".incomplete");

    public override void Publish(HubFile file)
    {
        // The content is already where it belongs.
    }

    public override void Complete()
    {
        // Parts of files that were wanted in another run may still be there.
        if (Directory.Exists(partials) && !Directory.EnumerateFileSystemEntries(partials).Any())
        {
            Directory.Delete(partials);
        }
    }
}
