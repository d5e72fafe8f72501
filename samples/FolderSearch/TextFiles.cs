namespace StellaInterop.Samples.FolderSearch;

/// <summary>Finds the text files of a folder and of the folders in it. Hidden ones are left out, and links to folders are not followed.</summary>
/// <param name="root">The folder.</param>
internal sealed class TextFiles(string root)
{
    private static readonly string[] Kinds = [".md", ".txt"];

    private static readonly EnumerationOptions Options = new() { AttributesToSkip = FileAttributes.Hidden, IgnoreInaccessible = false };

    private readonly List<(string Path, string Reason)> unreadable = [];

    /// <summary>The folders that could not be listed, with the reason.</summary>
    public IReadOnlyList<(string Path, string Reason)> Unreadable => unreadable;

    /// <summary>Returns the files, by their paths from the folder on, in order.</summary>
    public IReadOnlyList<string> Find()
    {
        var files = new List<string>();
        var folders = new Stack<string>([""]);
        while (folders.TryPop(out string? folder))
        {
            try
            {
                foreach (FileSystemInfo entry in new DirectoryInfo(Path.Combine(root, folder)).EnumerateFileSystemInfos("*", Options))
                {
                    string path = folder + entry.Name;
                    if (!entry.Attributes.HasFlag(FileAttributes.Directory))
                    {
                        files.AddRange(Kinds.Contains(entry.Extension, StringComparer.OrdinalIgnoreCase) ? [path] : []);
                    }
                    else if (entry.LinkTarget is null)
                    {
                        folders.Push($"{path}/");
                    }
                }
            }
            catch (DirectoryNotFoundException) when (folder.Length > 0)
            {
                // It was removed meanwhile, and its files with it.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                unreadable.Add((folder, e.Message));
            }
        }

        files.Sort(StringComparer.Ordinal);
        return files;
    }

    /// <summary>Whether a file may be in a folder that could not be listed.</summary>
    public bool MayHide(string path) => unreadable.Any(folder => path.StartsWith(folder.Path, StringComparison.Ordinal));
}
