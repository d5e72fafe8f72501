using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>The same sources compile to the same bytes, also with generated code.</summary>
internal sealed class GeneratedLogTests
{
    /// <summary>
    /// The generator of log messages writes the classes of a project in an order that differs between builds
    /// (https://github.com/dotnet/runtime/issues/119587). Code in one file keeps its order.
    /// </summary>
    [TestCase("src/StellaInterop", 1)]
    [TestCase("src/StellaInterop.Extensions", 0)]
    [TestCase("src/StellaInterop.Server", 1)]
    [TestCase("src/StellaInterop.Cli", 0)]
    public void A_project_has_at_most_one_file_with_generated_log_messages(string project, int files)
    {
        string folder = Path.Combine(SourceTree.Root, project);
        IEnumerable<string> found = Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
            .Where(file => File.ReadAllText(file).Contains("[LoggerMessage(", StringComparison.Ordinal))
            .Select(file => Path.GetRelativePath(folder, file));
        Assert.That(found.ToArray(), Has.Length.EqualTo(files));
    }
}
