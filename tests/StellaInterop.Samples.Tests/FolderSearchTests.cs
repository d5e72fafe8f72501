using StellaInterop.Samples.FolderSearch;
using StellaInterop.Tests;

namespace StellaInterop.Samples.Tests;

/// <summary>Folder search as a person uses it, and how it cuts files.</summary>
internal sealed class FolderSearchTests
{
    [Test]
    public void The_documentation_is_found()
    {
        string store = Path.Combine(Directory.CreateTempSubdirectory("stella-search").FullName, "docs.db");
        (int code, _, string error) = Run("search", "anything", "--store", store);
        Assert.That((code, error), Is.EqualTo((1, "folder-search: there is no index yet: folder-search index FOLDER makes one.\n")));
        (code, string output, error) = Run("index", Path.Combine(Tree.Root, "docs"), "--store", store);
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.Match(@"^\d+ files, \d+ new or changed, 0 gone; \d+ passages written\n$"));
        (code, output, error) = Run("search", "What is the memory limit of a container?", "--top", "2", "--store", store);
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.Match(@"^(0\.\d{3}  \S+\.md:\d+\n       -?0\.\d{3}  .+\n){2}$"));
        Assert.That(output, Does.Contain("  service.md:"));
        Directory.Delete(Path.GetDirectoryName(store)!, recursive: true);
    }

    [Test]
    public void A_model_that_is_not_there_is_told()
    {
        (int code, _, string error) = Run("search", "anything", "--model", "nobody/nothing");
        Assert.That(code, Is.EqualTo(1));
        Assert.That(error, Does.StartWith("folder-search: ").And.Contain("nobody/nothing"));
    }

    [Test]
    public void Passages_begin_at_headings_and_keep_their_lines()
    {
        IReadOnlyList<Passage> passages = PassageReader.Cut("a.md", "hash", "# One\r\nfirst\r\n\r\nsecond\r\n\r\n\r\n## Two\r\nthird  \r\n");
        Assert.That(
            passages.Select(passage => (passage.Key, passage.Line, passage.Text)),
            Is.EqualTo(new[] { ("a.md#0", 1, "# One\nfirst\n\nsecond"), ("a.md#1", 7, "## Two\nthird") }));
        string half = new('x', (PassageReader.Length / 2) + 1);
        Assert.That(PassageReader.Cut("a", "h", $"{half}\n\n{half}\n\nend").Select(passage => passage.Line), Is.EqualTo(new[] { 1, 3 }));
        Assert.That(PassageReader.Cut("a", "h", " \n\n"), Is.Empty);
    }

    private static (int ExitCode, string Output, string Error) Run(params string[] arguments) =>
        SampleProcess.Run("FolderSearch", "folder-search", string.Empty, arguments);
}
