using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace StellaInterop.ModelFiles;

/// <summary>Finds models in the cache of the Hugging Face tools.</summary>
/// <remarks>
/// A repository is a folder <c>models--org--name</c>. Its folder <c>blobs</c> has files named by their hash,
/// <c>snapshots/&lt;commit&gt;</c> has the files of a commit as links into <c>blobs</c>, and <c>refs</c> has a file with the commit of each
/// branch or tag. No method connects
/// to a network. Immutable and thread-safe.
/// </remarks>
public sealed partial class HuggingFaceCache
{
    /// <summary>The revision that is used by default.</summary>
    public const string DefaultRevision = "main";

    /// <summary>The prefix of the folder of a model repository.</summary>
    private const string Prefix = "models--";

    /// <summary>The largest length of a revision, as of a file name.</summary>
    private const int MaxRevision = 255;

    /// <summary>The characters that git forbids in the name of a branch or tag.</summary>
    private static readonly SearchValues<char> NotInRevisions = SearchValues.Create(
        [.. Enumerable.Range(0, ' ' + 1).Select(c => (char)c), '\x7f', '~', '^', ':', '?', '*', '[', '\\']);

    /// <summary>The largest size of a file in <c>refs</c>: a commit has 40 characters, and a line end may follow.</summary>
    private const int MaxReferenceBytes = 100;

    /// <summary>Initializes a cache in a folder.</summary>
    /// <param name="folder">The folder, with one <c>models--org--name</c> per repository. It need not exist.</param>
    /// <exception cref="ArgumentException"><paramref name="folder"/> is null or empty.</exception>
    public HuggingFaceCache(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        Folder = folder;
    }

    /// <summary>Gets the folder of the cache.</summary>
    public string Folder { get; }

    /// <summary>
    /// Returns the cache of the environment: <c>HF_HUB_CACHE</c>, or the older <c>HUGGINGFACE_HUB_CACHE</c>, or <c>hub</c> in
    /// <see cref="GetHomeFromEnvironment"/>.
    /// </summary>
    /// <remarks>
    /// In the paths of these variables <c>~</c>, <c>$NAME</c> and <c>${NAME}</c> are expanded, as by the tools of Hugging Face.
    /// An empty variable counts as not set.
    /// </remarks>
    public static HuggingFaceCache FromEnvironment() => new(
        EnvironmentPath.Of("HF_HUB_CACHE") ?? EnvironmentPath.Of("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(GetHomeFromEnvironment(), "hub"));

    /// <summary>
    /// Returns the folder of the Hugging Face tools: <c>HF_HOME</c>, or <c>huggingface</c> in <c>XDG_CACHE_HOME</c>, or
    /// <c>~/.cache/huggingface</c>.
    /// </summary>
    public static string GetHomeFromEnvironment() =>
        EnvironmentPath.Of("HF_HOME")
        ?? Path.Combine(EnvironmentPath.Of("XDG_CACHE_HOME") ?? Path.Combine(EnvironmentPath.UserFolder, ".cache"), "huggingface");

    /// <summary>Determines whether a text has the form of a model's name, <c>org/name</c>.</summary>
    /// <param name="text">The text.</param>
    public static bool IsModelName(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        // Hugging Face refuses both too: "--" separates org from name in the cache, and ".." leads out of a folder.
        return ModelName().IsMatch(text) && !text.Contains("--", StringComparison.Ordinal) && !text.Contains("..", StringComparison.Ordinal);
    }

    /// <summary>
    /// Determines whether a text has the form of a revision: a branch or a tag by the rules of git, or a commit of 40 hexadecimal digits.
    /// </summary>
    /// <param name="text">The text.</param>
    public static bool IsRevision(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        // The rules of git check-ref-format. No name that they allow leads out of a folder.
        return text.Length is > 0 and <= MaxRevision
            && text != "@"
            && !text.StartsWith('-')
            && !text.EndsWith('.')
            && !text.Contains("..", StringComparison.Ordinal)
            && !text.Contains("@{", StringComparison.Ordinal)
            && !text.AsSpan().ContainsAny(NotInRevisions)
            && text.Split('/').All(part => part.Length > 0 && part[0] != '.' && !part.EndsWith(".lock", StringComparison.Ordinal));
    }

    /// <summary>Returns a revision as an argument of a shell command, quoted if necessary.</summary>
    /// <param name="revision">The revision.</param>
    internal static string QuoteForShell(string revision) => revision.All(c => char.IsAsciiLetterOrDigit(c) || "._-/+@#".Contains(c, StringComparison.Ordinal))
        && revision[0] is not ('#' or '@')
            ? revision
            : $"'{Printable.Line(revision).Replace("'", @"'\''", StringComparison.Ordinal)}'";

    /// <summary>Determines whether a text is a full commit: 40 lower case hexadecimal digits.</summary>
    /// <param name="text">The text.</param>
    public static bool IsCommit(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text.Length == 40 && text.All(char.IsAsciiHexDigitLower);
    }

    /// <summary>Returns the folder of a repository, which need not exist.</summary>
    /// <param name="model">The name of the model, <c>org/name</c>.</param>
    /// <exception cref="ArgumentException">The name does not have this form.</exception>
    public string GetRepositoryFolder(string model)
    {
        if (!IsModelName(model))
        {
            throw new ArgumentException($"'{Printable.Line(model)}' is not the name of a model. A name has the form org/name.", nameof(model));
        }

        return Path.Combine(Folder, $"{Prefix}{model.Replace("/", "--", StringComparison.Ordinal)}");
    }

    /// <summary>Returns the folder of a downloaded model, for <see cref="StellaModel.Load"/>.</summary>
    /// <param name="model">The name of the model, <c>org/name</c>.</param>
    /// <param name="revision">A branch, a tag or a full commit.</param>
    /// <exception cref="ArgumentException">The name or the revision does not have its form.</exception>
    /// <exception cref="StellaModelFolderException">
    /// The revision is not in the cache, or the file with the commit of the branch or tag is damaged or cannot be read. For a missing
    /// revision the message lists the revisions in the cache and the command that downloads this one.
    /// </exception>
    public string GetModelFolder(string model, string revision = DefaultRevision)
    {
        if (TryGetModelFolder(model, revision, out string? folder, out string repository, out string searched))
        {
            return folder;
        }

        string[] revisions = RevisionsIn(repository);
        string found = revisions.Length == 0 ? "" : $" The cache has {Listing.Of(revisions)}.";
        string option = revision == DefaultRevision ? "" : $" --revision {QuoteForShell(revision)}";
        throw new StellaModelFolderException(
            StellaErrorCode.ModelFolderNotFound,
            $"{model} at revision {Printable.Line(revision)} is not in the Hugging Face cache; looked for {searched}.{found} "
            + $"Get it with: stella download {model}{option}");
    }

    /// <summary>Looks up the folder of a downloaded model.</summary>
    /// <param name="model">The name of the model, <c>org/name</c>.</param>
    /// <param name="revision">A branch, a tag or a full commit.</param>
    /// <param name="folder">Receives the folder; <see langword="null"/> if the revision is not in the cache.</param>
    /// <returns>Whether the revision is in the cache.</returns>
    /// <exception cref="ArgumentException">The name or the revision does not have its form.</exception>
    /// <exception cref="StellaModelFolderException">The file with the commit of the branch or tag is damaged or cannot be read.</exception>
    public bool TryGetModelFolder(string model, string revision, [NotNullWhen(true)] out string? folder) =>
        TryGetModelFolder(model, revision, out folder, out _, out _);

    private bool TryGetModelFolder(
        string model, string revision, [NotNullWhen(true)] out string? folder, out string repository, out string searched)
    {
        repository = GetRepositoryFolder(model);
        if (!IsRevision(revision))
        {
            throw new ArgumentException($"'{Printable.Line(revision)}' is not the name of a branch, a tag or a commit.", nameof(revision));
        }

        string reference = Path.Combine(repository, "refs", revision);
        string? commit = IsCommit(revision) ? revision : ReadReference(reference);
        string? snapshot = commit is null ? null : Path.Combine(repository, "snapshots", commit);
        searched = snapshot ?? reference;
        folder = Directory.Exists(snapshot) ? snapshot : null;
        return folder is not null;
    }

    /// <summary>Returns the name of the repository of a snapshot folder; <see langword="null"/> for any other folder.</summary>
    /// <param name="path">The folder.</param>
    internal static string? NameOf(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        string? snapshots = Path.GetDirectoryName(full);
        string repository = Path.GetFileName(Path.GetDirectoryName(snapshots)) ?? "";
        if (!IsCommit(Path.GetFileName(full)) || Path.GetFileName(snapshots) != "snapshots" || !repository.StartsWith(Prefix, StringComparison.Ordinal))
        {
            return null;
        }

        string name = repository[Prefix.Length..].Replace("--", "/", StringComparison.Ordinal);
        return IsModelName(name) ? name : null;
    }

    /// <summary>Returns the branches and tags of a repository that have a snapshot, then the commits without such a name.</summary>
    private static string[] RevisionsIn(string repository)
    {
        string snapshots = Path.Combine(repository, "snapshots");
        string refs = Path.Combine(repository, "refs");
        try
        {
            string[] commits = Directory.Exists(snapshots)
                ? [.. Directory.EnumerateDirectories(snapshots).Select(path => Path.GetFileName(path)).Where(IsCommit).Order(StringComparer.Ordinal)]
                : [];
            var named = new SortedDictionary<string, string>(StringComparer.Ordinal);
            var below = new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint };
            foreach (string path in Directory.Exists(refs) ? Directory.EnumerateFiles(refs, "*", below) : [])
            {
                string name = Path.GetRelativePath(refs, path).Replace(Path.DirectorySeparatorChar, '/');
                if (IsRevision(name) && TryReadReference(path) is { } commit && commits.Contains(commit))
                {
                    named[name] = commit;
                }
            }

            return [.. named.Keys.Select(Printable.Line), .. commits.Except(named.Values)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The list is optional: without it the message still names the missing revision.
            return [];
        }
    }

    private static string? TryReadReference(string path)
    {
        try
        {
            return ReadReference(path);
        }
        catch (StellaModelFolderException)
        {
            return null;
        }
    }

    private static string? ReadReference(string path)
    {
        try
        {
            if (!File.Exists(path))
            {
                return null;
            }

            // A pipe has length 0, and reading it would wait for a writer.
            string commit = FileHash.Length(path) is > 0 and <= MaxReferenceBytes ? File.ReadAllText(path).Trim() : "";
            return IsCommit(commit)
                ? commit
                : throw new StellaModelFolderException(StellaErrorCode.ModelFileInvalid, $"{path} does not hold a commit. Download the model again.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw FileHash.Unreadable(path, e);
        }
    }

    [GeneratedRegex(@"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}\z")]
    private static partial Regex ModelName();
}
