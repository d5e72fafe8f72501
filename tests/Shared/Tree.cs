using System.Reflection;

namespace StellaInterop.Tests;

/// <summary>The source tree that the tests were built from.</summary>
internal static class Tree
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    public static string Configuration { get; } = Metadata("Configuration");

    /// <summary>The folder of a model of the fixtures, or of the one that is shipped.</summary>
    public static string Model(string name) => name == "stella-mini"
        ? Path.Combine(Root, "src/StellaInterop.Models.Mini/model")
        : Path.Combine(Root, "tests/fixtures/models", name);

    /// <summary>A copy of a fixture that a test may break.</summary>
    public static TemporaryFolder Copy(string name)
    {
        var copy = new TemporaryFolder();
        copy.Take(Model(name));
        return copy;
    }

    private static string Metadata(string key) => typeof(Tree).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == key).Value!;
}

/// <summary>A folder that is gone after the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("stella-tests-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Copies everything in a folder, subfolders too.</summary>
    public void Take(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            string target = File(System.IO.Path.GetRelativePath(folder, file));
            Directory.CreateDirectory(System.IO.Path.GetDirectoryName(target)!);
            System.IO.File.Copy(file, target);
        }
    }

    /// <summary>Replaces a part of a text file that must be there.</summary>
    public void Edit(string name, string from, string to)
    {
        string text = System.IO.File.ReadAllText(File(name));
        Assert.That(text, Does.Contain(from));
        System.IO.File.WriteAllText(File(name), text.Replace(from, to, StringComparison.Ordinal));
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
