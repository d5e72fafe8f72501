using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>The same sources compile to the same bytes, also with generated code.</summary>
internal sealed class GeneratedLogTests
{
    /// <summary>
    /// The generator of log messages writes the classes of a project in an order that differs between builds
    /// (https://github.com/dotnet/runtime/issues/119587). Code in one file keeps its order.
    /// </summary>
    [Test]
    public void A_project_has_at_most_one_file_with_generated_log_messages()
    {
        string source = Path.Combine(SourceTree.Root, "src");
        string[][] projects =
        [
            .. Directory.EnumerateFiles(source, "*.cs", SearchOption.AllDirectories)
                .Where(file => File.ReadAllText(file).Contains("[LoggerMessage(", StringComparison.Ordinal))
                .Select(file => Path.GetRelativePath(source, file))
                .GroupBy(file => file.Split(Path.DirectorySeparatorChar)[0])
                .Select(project => project.ToArray()),
        ];
        Assert.That(projects, Is.Not.Empty.And.All.Length.EqualTo(1));
    }
}
