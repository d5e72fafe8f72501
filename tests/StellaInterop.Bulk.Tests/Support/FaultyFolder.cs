using StellaInterop.Bulk.Commit;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>A folder on disk whose operations a test may stop.</summary>
internal sealed class FaultyFolder(IOutputFolder folder, Action<string> step) : IOutputFolder
{
    public string Path => folder.Path;

    public IReadOnlyList<string> List(string name) => folder.List(name);

    public void CreateFolder(string name) => folder.CreateFolder(name);

    public bool Exists(string name) => folder.Exists(name);

    public Stream OpenRead(string name) => folder.OpenRead(name);

    public ITemporaryFile CreateTemporary()
    {
        step("create");
        return new FaultyFile(folder.CreateTemporary(), step);
    }

    public bool TryPublish(ITemporaryFile file, string name)
    {
        step("publish");
        return folder.TryPublish(((FaultyFile)file).File, name);
    }

    public bool TryRename(string name, string newName)
    {
        step("rename");
        return folder.TryRename(name, newName);
    }

    public void Delete(string name)
    {
        step("delete");
        folder.Delete(name);
    }

    public void DeleteFolder(string name) => folder.DeleteFolder(name);

    public void Replace(ITemporaryFile file, string name)
    {
        step("replace");
        folder.Replace(((FaultyFile)file).File, name);
    }

    public void FlushFolder(string name)
    {
        step("flush folder");
        folder.FlushFolder(name);
    }

    public void DeleteAbandoned() => folder.DeleteAbandoned();

    public void Dispose() => folder.Dispose();

    private sealed class FaultyFile(ITemporaryFile file, Action<string> step) : ITemporaryFile
    {
        public ITemporaryFile File => file;

        public Stream Content => file.Content;

        public void Flush()
        {
            step("flush");
            file.Flush();
        }

        public void Dispose() => file.Dispose();
    }
}
