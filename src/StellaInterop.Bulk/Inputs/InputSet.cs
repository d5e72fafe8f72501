using System.Text;
using System.Text.RegularExpressions;

namespace StellaInterop.Bulk.Inputs;

/// <summary>Finds the files that the inputs of a job name: files, folders and patterns.</summary>
/// <remarks>
/// The inputs keep their order. The files of a folder or pattern are in ordinal order of their paths, and a file that two inputs name is read
/// once. Folders and patterns leave out files and folders whose names begin with <c>.</c> or <c>_</c>, as other readers of such folders do,
/// files of unknown formats, and everything in the output folder.
/// </remarks>
internal sealed class InputSet
{
    private static readonly char[] Wildcards = ['*', '?'];

    private readonly string outputPrefix;
    private readonly List<string> paths = [];
    private readonly HashSet<string> known = new(StringComparer.Ordinal);

    private InputSet(string output) => outputPrefix = WithSeparator(Path.GetFullPath(output));

    /// <summary>Returns the files of the inputs in their order; at least one.</summary>
    /// <param name="inputs">The files, folders and patterns.</param>
    /// <param name="output">The output folder.</param>
    /// <param name="formats">Returns the format of a file; <see langword="null"/> if it is not known.</param>
    /// <exception cref="StellaBulkException">An input names no file, or a folder cannot be read.</exception>
    public static IReadOnlyList<InputFile> Find(IReadOnlyList<string> inputs, string output, Func<string, IInputFormat?> formats)
    {
        var set = new InputSet(output);
        foreach (string input in inputs)
        {
            set.Add(input, path => formats(path) is not null);
        }

        string root = CommonFolder(set.paths);
        return
        [
            .. set.paths.Select(path => new InputFile(
                path,
                path[root.Length..].Replace(Path.DirectorySeparatorChar, '/'),
                formats(path) ?? throw NoInput($"The format of the input file '{path}' is not known. End its name with one of the known formats, such as .jsonl, .csv, .parquet or .txt, or name the format with --input-format."))),
        ];
    }

    private void Add(string input, Predicate<string> isKnown)
    {
        string path = Path.GetFullPath(input);
        if (Directory.Exists(path))
        {
            AddAll(input, Walk(path, []).Where(file => isKnown(file)), "has no file of a known format");
        }
        else if (File.Exists(path))
        {
            _ = known.Add(path) ? AddPath(path) : false;
        }
        else if (input.IndexOfAny(Wildcards) >= 0)
        {
            (string folder, Regex pattern) = Compile(path);
            IEnumerable<string> files = Directory.Exists(folder) ? Walk(folder, []) : [];
            AddAll(input, files.Where(file => pattern.IsMatch(Slashed(file)) && isKnown(file)), "matches no file of a known format");
        }
        else
        {
            throw new StellaBulkException(StellaBulkErrorCode.InputUnreadable, input == "-"
                    ? "Standard input cannot be an input, because a job reads its input again when it continues. Copy the input to a file."
                    : $"The input '{input}' does not exist, or you may not read its folder. Check its name and the permissions of its folder.");
        }
    }

    private void AddAll(string input, IEnumerable<string> files, string fault)
    {
        string[] sorted = [.. files.OrderBy(Slashed, StringComparer.Ordinal)];
        if (sorted.Length == 0)
        {
            throw NoInput($"The input '{input}' {fault}. Check its name; files and folders whose names begin with '.' or '_' are left out.");
        }

        foreach (string file in sorted.Where(file => known.Add(file)))
        {
            _ = AddPath(file);
        }
    }

    private bool AddPath(string path)
    {
        paths.Add(path);
        return true;
    }

    /// <summary>Returns the files of a folder and of its subfolders, links included.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="above">The real paths of the folders above it. A link to one of them would never end.</param>
    private IEnumerable<string> Walk(string folder, HashSet<string> above)
    {
        string real = RealPath(folder);
        if (!above.Add(real))
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.InputUnreadable,
                $"The link '{folder}' leads to a folder that contains it. Remove the link, or name the input files by a pattern without it.");
        }

        foreach (FileSystemInfo entry in Entries(folder))
        {
            if (entry.Name[0] is '.' or '_' || WithSeparator(entry.FullName).StartsWith(outputPrefix, StringComparison.Ordinal))
            {
                continue;
            }

            if (Directory.Exists(entry.FullName))
            {
                foreach (string file in Walk(entry.FullName, above))
                {
                    yield return file;
                }
            }
            else
            {
                yield return entry.FullName;
            }
        }

        _ = above.Remove(real);
    }

    private static List<FileSystemInfo> Entries(string folder)
    {
        try
        {
            return [.. new DirectoryInfo(folder).EnumerateFileSystemInfos()];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StellaBulkException(
                StellaBulkErrorCode.InputUnreadable, $"The input folder '{folder}' cannot be read: {e.Message.TrimEnd('.')}. Check that you may read it.", e);
        }
    }

    private static string RealPath(string folder)
    {
        var info = new DirectoryInfo(folder);
        try
        {
            return info.LinkTarget is null ? folder : info.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? folder;
        }
        catch (IOException)
        {
            // A link to itself: reading it fails with a message of its own.
            return folder;
        }
    }

    /// <summary>Splits a pattern into the folder before its first wildcard and an expression over whole paths with <c>/</c>.</summary>
    private static (string Folder, Regex Pattern) Compile(string path)
    {
        string pattern = Slashed(path);
        int separator = pattern.LastIndexOf('/', pattern.IndexOfAny(Wildcards));
        var expression = new StringBuilder("^");
        for (int i = 0; i < pattern.Length; i++)
        {
            if (pattern.AsSpan(i).StartsWith("**/"))
            {
                _ = expression.Append("(?:.*/)?");
                i += 2;
            }
            else
            {
                _ = expression.Append(pattern[i] switch
                {
                    '*' => "[^/]*",
                    '?' => "[^/]",
                    char c => Regex.Escape(c.ToString()),
                });
            }
        }

        string folder = separator <= 0 ? Path.GetPathRoot(path)! : path[..(separator + 1)];
        return (folder, new Regex(expression.Append('$').ToString(), RegexOptions.CultureInvariant | RegexOptions.NonBacktracking));
    }

    /// <summary>Returns the folder that contains all paths, with the separator at its end; empty for paths without one.</summary>
    private static string CommonFolder(List<string> paths)
    {
        string common = WithSeparator(Path.GetDirectoryName(paths[0])!);
        foreach (string path in paths)
        {
            while (!path.StartsWith(common, StringComparison.Ordinal))
            {
                string? parent = Path.GetDirectoryName(common.TrimEnd(Path.DirectorySeparatorChar));
                if (parent is null)
                {
                    return "";
                }

                common = WithSeparator(parent);
            }
        }

        return common;
    }

    private static string WithSeparator(string folder) =>
        folder.EndsWith(Path.DirectorySeparatorChar) ? folder : folder + Path.DirectorySeparatorChar;

    private static string Slashed(string path) => path.Replace(Path.DirectorySeparatorChar, '/');

    private static StellaBulkException NoInput(string message) => new(StellaBulkErrorCode.NoInput, message);
}
