namespace StellaInterop.Samples.FolderSearch;

/// <summary>The result of a run of the index, in files and passages.</summary>
/// <param name="Files">Files that were found.</param>
/// <param name="Changed">Files that are new or have other contents than in the store.</param>
/// <param name="Removed">Files of the store that are gone.</param>
/// <param name="Skipped">Files and folders that could not be read. The store keeps what it had of them.</param>
/// <param name="Passages">Passages that were written.</param>
internal sealed record IndexReport(int Files, int Changed, int Removed, int Skipped, int Passages);

/// <summary>Brings a store up to the contents of a folder. Files that did not change are left alone.</summary>
/// <remarks>
/// A run can be stopped at any moment, and the next one completes it. The first passage of a file is written last, so that a file
/// without it, or with passages of two hashes, is one to read again.
/// </remarks>
/// <param name="folder">The folder.</param>
/// <param name="store">The store of the passages.</param>
/// <param name="splitter">What cuts texts.</param>
/// <param name="told">Hears a sentence about each file that is skipped.</param>
internal sealed class FolderIndex(string folder, PassageCollection store, StellaTextSplitter splitter, Action<string> told)
{
    /// <summary>Passages are embedded and written in batches of so many, so that memory does not grow with the folder.</summary>
    private const int Batch = 256;

    private readonly PassageReader reader = new(folder, splitter);
    private readonly List<Passage> waiting = [];
    private readonly List<string> stale = [];
    private ILookup<string, (string Hash, string Key)> known = null!;
    private int changed;
    private int skipped;
    private int passages;

    /// <summary>Indexes the text files of the folder.</summary>
    /// <param name="progress">Hears how many files were looked at.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public async Task<IndexReport> UpdateAsync(Action<int>? progress, CancellationToken cancellationToken)
    {
        await store.EnsureCollectionExistsAsync(cancellationToken);
        known = await store.FilesAsync(cancellationToken);
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
            Skip($"the folder {(path.Length > 0 ? Terminal.Line(path) : "itself")} cannot be listed: {reason}");
        }

        await WriteAsync(cancellationToken);
        string[] gone = [.. known.Select(file => file.Key).Where(path => !seen.Contains(path) && !files.MayHide(path))];
        await store.DeleteAsync(gone.SelectMany(path => known[path]).Select(part => part.Key), cancellationToken);
        return new IndexReport(seen.Count, changed, gone.Length, skipped, passages);
    }

    /// <summary>Indexes a file. One that cannot be read is skipped.</summary>
    /// <returns>Whether there is such a file.</returns>
    private async Task<bool> UpdateAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            if (!reader.HasBytes(path))
            {
                told($"{Terminal.Line(path)} has no bytes: it is empty, or a pipe or a device.");
                Replace(path, count: 0);
                return true;
            }

            string hash = reader.Hash(path);
            if (!IsComplete(path, hash))
            {
                Replace(path, await AddAsync(path, hash, cancellationToken));
            }
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException && new FileInfo(Path.Combine(folder, path)).LinkTarget is null)
        {
            // It was removed meanwhile.
            waiting.RemoveAll(passage => passage.Path == path);
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or StellaInputException)
        {
            waiting.RemoveAll(passage => passage.Path == path);
            Skip(e is TextFileException ? e.Message : $"{Terminal.Line(path)} cannot be read: {e.Message}");
        }

        return true;
    }

    private bool IsComplete(string path, string hash) =>
        known[path].All(part => part.Hash == hash) && known[path].Any(part => PassageReader.Number(part.Key) == 0);

    /// <summary>Adds the passages of a file to those that wait to be written.</summary>
    /// <returns>Their number.</returns>
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
        waiting.Add(passage);
        if (waiting.Count >= Batch)
        {
            await WriteAsync(cancellationToken);
        }
    }

    /// <summary>Marks the passages of a file that are beyond its new number of passages.</summary>
    private void Replace(string path, int count)
    {
        changed += count > 0 || known.Contains(path) ? 1 : 0;
        stale.AddRange(known[path].Select(part => part.Key).Where(key => PassageReader.Number(key) >= count));
    }

    private void Skip(string reason)
    {
        skipped++;
        told($"skipped: {reason}");
    }

    private async Task WriteAsync(CancellationToken cancellationToken)
    {
        await store.UpsertAsync(waiting, cancellationToken);
        await store.DeleteAsync(stale, cancellationToken);
        passages += waiting.Count;
        waiting.Clear();
        stale.Clear();
    }
}
