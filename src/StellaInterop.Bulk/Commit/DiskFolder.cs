using StellaInterop.Bulk.Files;

namespace StellaInterop.Bulk.Commit;

/// <summary>Represents an output folder on disk.</summary>
internal sealed class DiskFolder : IOutputFolder
{
    private const string LockEnd = ".lock";

    private const int LockAttempts = 10;

    private readonly string temporaryFolder;
    private readonly string owner = Guid.NewGuid().ToString("N");
    private readonly Lock gate = new();
    private FileStream? ownerLock;
    private int created;

    /// <param name="path">The path of the folder, which need not exist.</param>
    public DiskFolder(string path)
    {
        Path = System.IO.Path.GetFullPath(path);
        temporaryFolder = FullPath(OutputNames.TemporaryFolder);
    }

    public string Path { get; }

    public IReadOnlyList<string> List(string folder)
    {
        string path = FullPath(folder);
        return Directory.Exists(path) ? [.. Directory.EnumerateFileSystemEntries(path).Select(entry => System.IO.Path.GetFileName(entry))] : [];
    }

    public void CreateFolder(string folder) => Directory.CreateDirectory(FullPath(folder));

    public bool Exists(string name) => File.Exists(FullPath(name));

    public Stream OpenRead(string name)
    {
        string path = FullPath(name);
        return OperatingSystem.IsWindows() ? BusyFile.Retry(Open) : Open();

        FileStream Open() => new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
    }

    public ITemporaryFile CreateTemporary() => new TemporaryFile(NewTemporaryPath());

    public bool TryPublish(ITemporaryFile file, string name)
    {
        var temporary = (TemporaryFile)file;
        temporary.Content.Dispose();
        string target = FullPath(name);
        if (OperatingSystem.IsWindows())
        {
            return temporary.IsPublished = WindowsFiles.TryMove(temporary.Path, target);
        }

        // The file keeps its temporary name, which is deleted on disposal.
        return TryLink(temporary.Path, target);
    }

    public bool TryRename(string name, string newName)
    {
        (string path, string target) = (FullPath(name), FullPath(newName));
        try
        {
            return File.Exists(path) && (OperatingSystem.IsWindows() ? WindowsFiles.TryMove(path, target) : TryLink(path, target));
        }
        catch (IOException) when (!File.Exists(path))
        {
            // Another process renamed the file meanwhile.
            return false;
        }
    }

    public void Delete(string name)
    {
        try
        {
            File.Delete(FullPath(name));
        }
        catch (DirectoryNotFoundException)
        {
            // Another process deleted the folder, and the file with it.
        }
    }

    public void DeleteFolder(string folder)
    {
        string path = FullPath(folder);
        if (!Directory.Exists(path))
        {
            return;
        }

        string moved = NewTemporaryPath();
        try
        {
            Directory.Move(path, moved);
        }
        catch (DirectoryNotFoundException)
        {
            // Another process deleted it meanwhile.
            return;
        }

        Directory.Delete(moved, recursive: true);
    }

    public void Replace(ITemporaryFile file, string name)
    {
        var temporary = (TemporaryFile)file;
        temporary.Content.Dispose();
        if (OperatingSystem.IsWindows())
        {
            WindowsFiles.Replace(temporary.Path, FullPath(name));
        }
        else
        {
            File.Move(temporary.Path, FullPath(name), overwrite: true);
        }

        temporary.IsPublished = true;
    }

    public void FlushFolder(string folder)
    {
        // On Windows a move waits until the name is on the disk.
        if (!OperatingSystem.IsWindows())
        {
            Posix.FlushFolder(FullPath(folder));
        }
    }

    public void DeleteAbandoned()
    {
        // A network file system may have files of its own, whose names begin with a dot.
        string[] others = [.. List(OutputNames.TemporaryFolder).Select(name => name.Split('-', '.')[0]).Distinct().Where(name => name.Length > 0 && name != owner)];
        if (others.Length == 0 || !HasLocks())
        {
            return;
        }

        foreach (string abandoned in others)
        {
            string lockPath = System.IO.Path.Combine(temporaryFolder, abandoned + LockEnd);
            try
            {
                // The lock of a process that runs cannot be opened.
                using FileStream? taken = File.Exists(lockPath) ? OpenLock(lockPath) : null;
                foreach (string file in Directory.EnumerateFiles(temporaryFolder, abandoned + "*"))
                {
                    File.Delete(file);
                }

                foreach (string folder in Directory.EnumerateDirectories(temporaryFolder, abandoned + "*"))
                {
                    Directory.Delete(folder, recursive: true);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The process runs, or another one deletes the files now.
            }
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            if (ownerLock is not null)
            {
                ownerLock.Dispose();
                ownerLock = null;
            }
        }
    }

    private bool TryLink(string path, string target)
    {
        try
        {
            return Posix.TryLink(path, target);
        }
        catch (IOException e) when (Posix.HasNoLinks(e))
        {
            throw new IOException(
                $"The file system of '{Path}' has no hard links, which a job needs to commit its parts. Name an output folder on another file system.", e);
        }
    }

    private string NewTemporaryPath()
    {
        TakeOwnerLock();
        string name = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{owner}-{Interlocked.Increment(ref created)}");
        return System.IO.Path.Combine(temporaryFolder, name);
    }

    private string FullPath(string name) =>
        name.Length == 0 ? Path : System.IO.Path.Combine(Path, name.Replace('/', System.IO.Path.DirectorySeparatorChar));

    /// <summary>Opens the lock of another process, which has ended if that succeeds.</summary>
    /// <remarks>
    /// .NET takes no shared locks on NFS and SMB, and nothing would be in the way there. So the lock is an exclusive one, except on Windows, which
    /// could not delete the file then.
    /// </remarks>
    private static FileStream OpenLock(string path) =>
        new(path, FileMode.Open, FileAccess.ReadWrite, OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None);

    /// <summary>Returns whether the lock of this process is in the way of others. Without locks, nobody knows which files are in use.</summary>
    private bool HasLocks()
    {
        TakeOwnerLock();
        try
        {
            OpenLock(ownerLock!.Name).Dispose();
            return false;
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>Locks a file while this process runs, so that others know that its temporary files are in use.</summary>
    private void TakeOwnerLock()
    {
        lock (gate)
        {
            for (int attempt = 1; ownerLock is null; attempt++)
            {
                try
                {
                    ownerLock = new FileStream(
                        System.IO.Path.Combine(temporaryFolder, owner + LockEnd),
                        FileMode.OpenOrCreate,
                        FileAccess.ReadWrite,
                        FileShare.None,
                        bufferSize: 1,
                        FileOptions.DeleteOnClose);
                }
                catch (IOException) when (attempt < LockAttempts)
                {
                    // Another process found the file before it was locked, and is about to delete it.
                    Thread.Sleep(attempt);
                }
            }
        }
    }

    private sealed class TemporaryFile(string path) : ITemporaryFile
    {
        private const int BufferBytes = 128 << 10;

        private readonly FileStream content = new(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Read, BufferBytes);

        public string Path { get; } = path;

        public bool IsPublished { get; set; }

        public Stream Content => content;

        public void Flush() => content.Flush(flushToDisk: true);

        public void Dispose()
        {
            try
            {
                content.Dispose();
            }
            catch (IOException)
            {
                // The rest of the buffer has no room on a full disk. The file is deleted, and the first error is the one to report.
            }

            if (!IsPublished)
            {
                try
                {
                    File.Delete(Path);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // The file is garbage that a later run deletes.
                }
            }
        }
    }
}
