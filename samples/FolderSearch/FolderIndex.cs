namespace StellaInterop.Samples.FolderSearch;

/// <summary>What a run of the index did, in files and passages.</summary>
internal sealed record IndexReport(int Files, int Changed, int Removed, int Passages);

/// <summary>Brings a store up to what a folder holds. What did not change is left alone.</summary>
internal static class FolderIndex
{
    /// <summary>Passages of whole files are written together up to about so many.</summary>
    private const int Together = 256;

    private static readonly string[] Kinds = [".md", ".txt"];

    /// <summary>Indexes the text files of a folder. A run that is stopped is taken up by the next.</summary>
    /// <param name="folder">The folder, with all that is in it.</param>
    /// <param name="store">Where passages are kept.</param>
    /// <param name="progress">Hears how many files were looked at.</param>
    /// <param name="cancellationToken">Stops it between two files.</param>
    public static async Task<IndexReport> UpdateAsync(
        string folder, PassageCollection store, Action<int>? progress, CancellationToken cancellationToken)
    {
        await store.EnsureCollectionExistsAsync(cancellationToken);
        ILookup<string, (string Hash, string Key)> known = await store.FilesAsync(cancellationToken);
        var waiting = new List<Passage>();
        var stale = new List<string>();
        (int files, int changed, int passages) = (0, 0, 0);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string path in Files(folder))
        {
            cancellationToken.ThrowIfCancellationRequested();
            seen.Add(path);
            files++;
            progress?.Invoke(files);
            string hash = PassageReader.Hash(folder, path);
            if (known.Contains(path) && known[path].All(part => part.Hash == hash))
            {
                continue;
            }

            IReadOnlyList<Passage> read = PassageReader.Read(folder, path);
            changed += read.Count > 0 || known.Contains(path) ? 1 : 0;
            waiting.AddRange(read);
            stale.AddRange(known[path].Select(part => part.Key).Except(read.Select(passage => passage.Key)));
            if (waiting.Count >= Together)
            {
                await WriteAsync();
            }
        }

        await WriteAsync();
        string[] gone = [.. known.Select(file => file.Key).Where(path => !seen.Contains(path))];
        await store.DeleteAsync(gone.SelectMany(path => known[path]).Select(part => part.Key), cancellationToken);
        return new IndexReport(files, changed, gone.Length, passages);

        async Task WriteAsync()
        {
            // Until what is left of a longer file is gone the file has two hashes, so that a run that ends here reads it again.
            await store.UpsertAsync(waiting, cancellationToken);
            await store.DeleteAsync(stale, cancellationToken);
            passages += waiting.Count;
            waiting.Clear();
            stale.Clear();
        }
    }

    private static IEnumerable<string> Files(string folder) => Directory
        .EnumerateFiles(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.Hidden | FileAttributes.ReparsePoint })
        .Where(file => Kinds.Contains(Path.GetExtension(file), StringComparer.OrdinalIgnoreCase))
        .Select(file => Path.GetRelativePath(folder, file).Replace('\\', '/'))
        .Order(StringComparer.Ordinal);
}
