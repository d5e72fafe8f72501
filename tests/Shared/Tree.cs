using System.Reflection;

namespace StellaInterop.Tests;

/// <summary>Paths in the source tree that the tests were built from.</summary>
internal static class Tree
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    public static string Configuration { get; } = Metadata("Configuration");

    /// <summary>Returns the folder of a model among the fixtures, or of the shipped model.</summary>
    public static string Model(string name) => name == "stella-mini"
        ? Path.Combine(Root, "src/StellaInterop.Models.Mini/model")
        : Path.Combine(Root, "tests/fixtures/models", name);

    /// <summary>Copies a model to a temporary folder, where a test may change it.</summary>
    public static TemporaryFolder Copy(string name)
    {
        var copy = new TemporaryFolder();
        copy.CopyFrom(Model(name));
        return copy;
    }

    private static string Metadata(string key) => typeof(Tree).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == key).Value!;
}

/// <summary>A temporary folder that is deleted on disposal.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("stella-tests-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Copies all files of a folder and its subfolders into this folder.</summary>
    public void CopyFrom(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            string target = File(System.IO.Path.GetRelativePath(folder, file));
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
