using StellaInterop.Bulk.Commit;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>
/// An output folder in memory that forgets what a disk may forget at a power failure: content that was not flushed, and names in folders that
/// were not flushed. Every operation is a step, before which a test may stop the writer.
/// </summary>
internal sealed class MemoryDisk
{
    private readonly Dictionary<string, MemoryFile> names = new(StringComparer.Ordinal);
    private readonly HashSet<string> folders = new(StringComparer.Ordinal);
    private Dictionary<string, MemoryFile> durableNames = new(StringComparer.Ordinal);

    /// <summary>The names of parts whose content has changed after they got it.</summary>
    public List<string> ChangedParts { get; } = [];

    public IEnumerable<string> Names => names.Keys.Order(StringComparer.Ordinal);

    public byte[] Read(string name) => names[name].Content;

    public void Write(string name, byte[] content) => names[name] = new MemoryFile { Content = content };

    public void Delete(string name) => names.Remove(name);

    /// <summary>Keeps only what is on the disk, and of the rest any part.</summary>
    public void LosePower(Random random)
    {
        foreach (string name in names.Keys.Union(durableNames.Keys).ToArray())
        {
            MemoryFile? now = names.GetValueOrDefault(name);
            MemoryFile? before = durableNames.GetValueOrDefault(name);
            if (now != before && random.Next(2) == 0)
            {
                if (before is null)
                {
                    names.Remove(name);
                }
                else
                {
                    names[name] = before;
                }
            }
        }

        foreach (MemoryFile file in names.Values.Where(file => !file.IsFlushed))
        {
            file.Content = file.Content[..random.Next(file.Content.Length + 1)];
            file.IsFlushed = true;
        }

        durableNames = new Dictionary<string, MemoryFile>(names, StringComparer.Ordinal);
    }

    /// <summary>Opens the folder for one process.</summary>
    /// <param name="step">Is called before each operation; an exception is the failure of the operation.</param>
    public IOutputFolder Open(Action<string>? step = null) => new Folder(this, step ?? (static _ => { }));

    private sealed class MemoryFile
    {
        public byte[] Content { get; set; } = [];

        public bool IsFlushed { get; set; }
    }

    private sealed class Folder(MemoryDisk disk, Action<string> step) : IOutputFolder
    {
        public string Path => "/memory";

        public IReadOnlyList<string> List(string folder)
        {
            step("list");
            string prefix = folder.Length == 0 ? "" : folder + "/";
            lock (disk)
            {
                return
                [
                    .. disk.names.Keys.Concat(disk.folders.Where(name => name.Length > 0))
                        .Where(name => name.StartsWith(prefix, StringComparison.Ordinal))
                        .Select(name => name[prefix.Length..].Split('/')[0])
                        .Distinct()
                        .Order(StringComparer.Ordinal),
                ];
            }
        }

        public void CreateFolder(string folder)
        {
            lock (disk)
            {
                disk.folders.Add(folder);
            }
        }

        public bool Exists(string name)
        {
            step("exists");
            lock (disk)
            {
                return disk.names.ContainsKey(name);
            }
        }

        public Stream OpenRead(string name)
        {
            step("read");
            lock (disk)
            {
                return disk.names.TryGetValue(name, out MemoryFile? file)
                    ? new MemoryStream(file.Content, writable: false)
                    : throw new FileNotFoundException(name);
            }
        }

        public ITemporaryFile CreateTemporary()
        {
            step("create");
            return new Temporary(step);
        }

        public bool TryPublish(ITemporaryFile file, string name)
        {
            step("publish");
            lock (disk)
            {
                return FolderOf(name) is var folder && (folder.Length == 0 || disk.folders.Contains(folder))
                    ? disk.names.TryAdd(name, ((Temporary)file).ToFile())
                    : throw new DirectoryNotFoundException(name);
            }
        }

        public bool TryRename(string name, string newName)
        {
            step("rename");
            lock (disk)
            {
                return disk.names.TryGetValue(name, out MemoryFile? file) && disk.names.TryAdd(newName, file);
            }
        }

        public void Delete(string name)
        {
            step("delete");
            lock (disk)
            {
                disk.names.Remove(name);
            }
        }

        public void DeleteFolder(string folder)
        {
            step("delete folder");
            lock (disk)
            {
                disk.folders.RemoveWhere(name => name == folder || name.StartsWith(folder + "/", StringComparison.Ordinal));
                foreach (string name in disk.names.Keys.Where(name => name.StartsWith(folder + "/", StringComparison.Ordinal)).ToArray())
                {
                    disk.names.Remove(name);
                }
            }
        }

        public void Replace(ITemporaryFile file, string name)
        {
            step("replace");
            lock (disk)
            {
                MemoryFile replacement = ((Temporary)file).ToFile();
                if (name.StartsWith(OutputNames.PartPrefix, StringComparison.Ordinal)
                    && disk.names.TryGetValue(name, out MemoryFile? before)
                    && !before.Content.AsSpan().SequenceEqual(replacement.Content))
                {
                    disk.ChangedParts.Add(name);
                }

                disk.names[name] = replacement;
            }
        }

        public void FlushFolder(string folder)
        {
            step("flush folder");
            lock (disk)
            {
                foreach (string name in disk.names.Keys.Union(disk.durableNames.Keys).Where(name => FolderOf(name) == folder).ToArray())
                {
                    if (disk.names.TryGetValue(name, out MemoryFile? file))
                    {
                        disk.durableNames[name] = file;
                    }
                    else
                    {
                        disk.durableNames.Remove(name);
                    }
                }
            }
        }

        public void DeleteAbandoned()
        {
        }

        public void Dispose()
        {
        }

        private static string FolderOf(string name) => name.LastIndexOf('/') is > 0 and var end ? name[..end] : "";
    }

    private sealed class Temporary(Action<string> step) : ITemporaryFile
    {
        private readonly SteppedStream content = new(step);
        private bool isFlushed;

        public Stream Content => content;

        public void Flush()
        {
            step("flush");
            isFlushed = true;
        }

        public MemoryFile ToFile() => new() { Content = content.ToArray(), IsFlushed = isFlushed };

        public void Dispose() => content.Dispose();
    }

    private sealed class SteppedStream(Action<string> step) : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count)
        {
            step("write");
            base.Write(buffer, offset, count);
        }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            step("write");
            base.Write(buffer);
        }
    }
}
