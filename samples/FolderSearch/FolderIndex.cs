namespace StellaInterop.Samples.FolderSearch;

/// <summary>Represents the result of an index run.</summary>
/// <param name="Files">The number of files found.</param>
/// <param name="Changed">The number of files that are new or differ from the store.</param>
/// <param name="Removed">The number of files in the store that no longer exist.</param>
/// <param name="Skipped">The number of files and folders that could not be read. The store keeps their passages.</param>
/// <param name="Passages">The number of passages written.</param>
internal sealed record IndexReport(int Files, int Changed, int Removed, int Skipped, int Passages);

/// <summary>Updates a store to the contents of a folder. Unchanged files are not read again.</summary>
/// <remarks>
/// A run can be stopped at any time, and the next run completes it. The first passage of a file is written last, so a file without
/// its first passage, or with passages of two hashes, is incomplete.
/// </remarks>
/// <param name="folder">The folder.</param>
/// <param name="store">The store of the passages.</param>
/// <param name="splitter">The splitter of texts.</param>
/// <param name="warn">Receives a message for each skipped file.</param>
internal sealed class FolderIndex(string folder, PassageCollection store, StellaTextSplitter splitter, Action<string> warn)
{
    /// <summary>
    /// The number of passages that are embedded and written together, so that memory does not grow with the folder.
    /// </summary>
    private const int BatchSize = 256;

    private readonly PassageReader reader = new(folder, splitter);
    private readonly List<Passage> pending = [];
    private readonly List<string> staleKeys = [];
    private ILookup<string, (string Hash, string Key)> stored = null!;
    private int changed;
    private int skipped;
    private int passages;

    /// <summary>Indexes the text files of the folder.</summary>
    /// <param name="progress">Receives the number of files processed so far.</param>
    /// <param name="cancellationToken">Stops the run.</param>
    public async Task<IndexReport> UpdateAsync(Action<int>? progress, CancellationToken cancellationToken)
    {
        await store.EnsureCollectionExistsAsync(cancellationToken);
        stored = await store.GetFilesAsync(cancellationToken);
        (changed, skipped, passages) = (0, 0, 0);
        var files = new TextFiles(folder);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (string path in files.Find())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (await UpdateAsync(path, cancellationToken))
            {
                seen.Add(path);
                progress?.Invoke(seen.Count);
            }
        }

        foreach ((string path, string reason) in files.Unreadable)
        {
            Skip($"the folder {(path.Length > 0 ? Terminal.Escape(path) : "itself")} cannot be listed: {reason}");
        }

        await WriteAsync(cancellationToken);
        string[] removed = [.. stored.Select(file => file.Key).Where(path => !seen.Contains(path) && !files.IsInUnreadableFolder(path))];
        await store.DeleteAsync(removed.SelectMany(path => stored[path]).Select(part => part.Key), cancellationToken);
        return new IndexReport(seen.Count, changed, removed.Length, skipped, passages);
    }

    /// <summary>Indexes a file. A file that cannot be read is skipped.</summary>
    /// <returns>Whether the file exists.</returns>
    private async Task<bool> UpdateAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            if (!reader.HasBytes(path))
            {
                warn($"{Terminal.Escape(path)} has no bytes: it is empty, or a pipe or a device.");
                MarkChanged(path, count: 0);
                return true;
            }

            string hash = reader.ComputeHash(path);
            if (!IsComplete(path, hash))
            {
                MarkChanged(path, await AddAsync(path, hash, cancellationToken));
            }
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException && new FileInfo(Path.Combine(folder, path)).LinkTarget is null)
        {
            // The file was removed after the folder was listed.
            pending.RemoveAll(passage => passage.Path == path);
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StellaInputException)
        {
            pending.RemoveAll(passage => passage.Path == path);
            Skip(e is TextFileException ? e.Message : $"{Terminal.Escape(path)} cannot be read: {e.Message}");
        }

        return true;
    }

    private bool IsComplete(string path, string hash) =>
        stored[path].All(part => part.Hash == hash) && stored[path].Any(part => PassageReader.GetNumber(part.Key) == 0);

    /// <summary>Adds the passages of a file to the pending passages.</summary>
    /// <returns>The number of passages.</returns>
    private async Task<int> AddAsync(string path, string hash, CancellationToken cancellationToken)
    {
        Passage? first = null;
        int count = 0;
        foreach (Passage passage in reader.Read(path, hash, cancellationToken))
        {
            if (count++ == 0)
            {
                first = passage;
            }
            else
            {
                await AddAsync(passage, cancellationToken);
            }
        }

        if (first is not null)
        {
            await AddAsync(first, cancellationToken);
        }

        return count;
    }

    private async Task AddAsync(Passage passage, CancellationToken cancellationToken)
    {
        pending.Add(passage);
        if (pending.Count >= BatchSize)
        {
            await WriteAsync(cancellationToken);
        }
    }

    /// <summary>Marks the stored passages of a changed file beyond its new number of passages as stale.</summary>
    private void MarkChanged(string path, int count)
    {
        changed += count > 0 || stored.Contains(path) ? 1 : 0;
        staleKeys.AddRange(stored[path].Select(part => part.Key).Where(key => PassageReader.GetNumber(key) >= count));
    }

    private void Skip(string reason)
    {
        skipped++;
        warn($"skipped: {reason}");
    }

    private async Task WriteAsync(CancellationToken cancellationToken)
    {
        await store.UpsertAsync(pending, cancellationToken);
        await store.DeleteAsync(staleKeys, cancellationToken);
        passages += pending.Count;
        pending.Clear();
        staleKeys.Clear();
    }
}
