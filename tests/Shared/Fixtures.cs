namespace StellaInterop.Tests;

/// <summary>The model folders that the tests load.</summary>
internal static class Fixtures
{
    /// <summary>Returns the folder of a model among the fixtures, or of the shipped model.</summary>
    public static string Model(string name) => Path.Combine(
        SourceTree.Root, SystemPath.Of(name == "stella-mini" ? "src/StellaInterop.Models.Mini/model" : $"tests/fixtures/models/{name}"));

    /// <summary>Copies a model to a temporary folder, where a test may change it.</summary>
    public static TemporaryFolder Copy(string name)
    {
        var copy = new TemporaryFolder();
        copy.CopyFrom(Model(name));
        return copy;
    }
}
