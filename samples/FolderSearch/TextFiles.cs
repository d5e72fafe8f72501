namespace StellaInterop.Samples.FolderSearch;

/// <summary>
/// Finds the text files of a folder and its subfolders. Hidden files are skipped, and links to folders are not followed.
/// </summary>
/// <param name="root">The folder.</param>
internal sealed class TextFiles(string root)
{
    private static readonly string[] TextExtensions = [".md", ".txt"];

    private static readonly EnumerationOptions Options = new() { AttributesToSkip = FileAttributes.Hidden, IgnoreInaccessible = false };

    private readonly List<(string Path, string Reason)> unreadable = [];

    /// <summary>Gets the folders that could not be listed, each with the reason.</summary>
    public IReadOnlyList<(string Path, string Reason)> Unreadable => unreadable;

    /// <summary>Returns the paths of the files relative to the folder, sorted.</summary>
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
                        files.AddRange(TextExtensions.Contains(entry.Extension, StringComparer.OrdinalIgnoreCase) ? [path] : []);
                    }
                    else if (entry.LinkTarget is null)
                    {
                        folders.Push($"{path}/");
                    }
                }
            }
            catch (DirectoryNotFoundException) when (folder.Length > 0)
            {
                // The folder was removed after its parent was listed.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                unreadable.Add((folder, e.Message));
            }
        }

        files.Sort(StringComparer.Ordinal);
        return files;
    }

    /// <summary>Returns whether a file is in a folder that could not be listed.</summary>
    public bool IsInUnreadableFolder(string path) => unreadable.Any(folder => path.StartsWith(folder.Path, StringComparison.Ordinal));
}
