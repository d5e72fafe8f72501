namespace StellaInterop.Tests;

/// <summary>A temporary folder that is deleted on disposal.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("stella-tests-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, SystemPath.Of(name));

    /// <summary>Copies all files of a folder and its subfolders into this folder, or into a subfolder.</summary>
    public void CopyFrom(string folder, string subfolder = "")
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            string target = System.IO.Path.Combine(File(subfolder), System.IO.Path.GetRelativePath(folder, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(target)!);
            System.IO.File.Copy(file, target);
        }
    }

    /// <summary>Replaces a string in a text file, and fails if the file does not contain it.</summary>
    public void Edit(string name, string from, string to)
    {
        string text = System.IO.File.ReadAllText(File(name));
        Assert.That(text, Does.Contain(from));
        System.IO.File.WriteAllText(File(name), text.Replace(from, to, StringComparison.Ordinal));
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
