using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using StellaInterop.Samples.FolderSearch;
using StellaInterop.Tests;

namespace StellaInterop.Samples.Tests;

/// <summary>Tests folder search as a process, and its selection of files.</summary>
internal sealed class FolderSearchTests
{
    [Test]
    public void A_question_finds_its_passage_in_the_documentation()
    {
        string store = Path.Combine(Directory.CreateTempSubdirectory("stella-search").FullName, "docs.db");
        (int code, _, string error) = Run("search", "anything", "--store", store);
        Assert.That((code, error), Is.EqualTo((1, "folder-search: There is no index yet. Create it with `folder-search index FOLDER`.\n")));
        (code, string output, error) = Run("index", Path.Combine(SourceTree.Root, "docs"), "--store", store);
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.Match(@"^\d+ files, \d+ new or changed, 0 gone, 0 skipped; \d+ passages written\n$"));
        (code, output, error) = Run("search", "Which memory limit does a pool keep to in a container?", "--top", "2", "--store", store);
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.Match(@"^(0\.\d{3}  \S+\.md:\d+\n       -?0\.\d{3}  .+\n){2}$"));
        Assert.That(output, Does.Contain("  service.md:"));
        Directory.Delete(Path.GetDirectoryName(store)!, recursive: true);
    }

    [Test]
    public void A_missing_model_is_reported()
    {
        (int code, _, string error) = Run("search", "anything", "--model", "nobody/nothing");
        Assert.That(code, Is.EqualTo(1));
        Assert.That(error, Does.StartWith("folder-search: ").And.Contain("nobody/nothing"));
    }

    /// <summary>The words are at the end of a paragraph that exceeds the token limit of the model.</summary>
    [TestCase(".txt")]
    [TestCase(".md")]
    public void Words_at_the_end_of_a_long_paragraph_are_found(string extension)
    {
        using var folder = new TemporaryFolder();
        string[] others = [.. Documents.All().Skip(20).Take(160).Select(document => document.Text)];
        File.WriteAllText(folder.File($"long{extension}"), $"{string.Join(' ', others)} They also own a zanzibar coffee plantation.");
        foreach ((string name, string text) in Documents.All().Take(20))
        {
            File.WriteAllText(folder.File(name), text);
        }

        string store = folder.File("index.db");
        Assert.That(Run("index", folder.Path, "--store", store).ExitCode, Is.Zero);
        (_, string output, _) = Run("search", "zanzibar coffee plantation", "--top", "1", "--store", store);
        Assert.That(output, Does.Match($@"^0\.\d{{3}}  long\{extension}:1\n").And.Contains("They also own a zanzibar coffee plantation."));
    }

    [Test]
    public void Unreadable_files_are_named_and_the_others_are_indexed()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("bom.md"), "\ufeff# Harvest\r\n\r\nThe harvest of the year was good.\r\n", Encoding.UTF8);
        File.WriteAllText(folder.File("utf16.txt"), "The river ran.", Encoding.Unicode);
        File.WriteAllBytes(folder.File("utf16-bare.txt"), Encoding.BigEndianUnicode.GetBytes("The river ran."));
        File.WriteAllText(folder.File("utf32.txt"), "The river ran.", Encoding.UTF32);
        File.WriteAllBytes(folder.File("binary.txt"), [.. Enumerable.Range(1, 100).Select(i => (byte)i), 0, 0, 7]);
        File.WriteAllBytes(folder.File("latin1.txt"), [.. Enumerable.Repeat((byte)'a', 100_000), 0xe4, 0xf6]);
        File.WriteAllBytes(folder.File("cut.txt"), [.. "The river "u8, 0xe2, 0x82]);
        File.WriteAllBytes(folder.File("empty.txt"), []);
        File.WriteAllText(folder.File("blank.txt"), " \n\n ");
        Directory.CreateDirectory(folder.File("sub"));
        File.CreateSymbolicLink(folder.File("again.txt"), "bom.md");
        File.CreateSymbolicLink(folder.File("gone.txt"), "nothing");
        File.CreateSymbolicLink(folder.File("loop.txt"), "loop.txt");
        File.CreateSymbolicLink(folder.File("zero.txt"), "/dev/zero");
        Directory.CreateSymbolicLink(folder.File("sub/up"), "..");
        using (var pipe = Process.Start("mkfifo", [folder.File("pipe.txt"), folder.File("\u001b[31m.txt")]))
        {
            pipe.WaitForExit();
        }

        string store = folder.File("index.db");
        (int code, string output, string error) = Run("index", folder.Path, "--store", store);
        Assert.That((code, output), Is.EqualTo((3, "15 files, 2 new or changed, 0 gone, 8 skipped; 2 passages written\n")), error);
        string gone = Path.Combine(folder.Path, "nothing");
        string loop = folder.File("loop.txt");
        Assert.That(error.TrimEnd().Split('\n'), Is.EqualTo(new[]
        {
            "folder-search: \\u001b[31m.txt has no bytes: it is empty, or a pipe or a device.",
            "folder-search: skipped: binary.txt is a binary file: byte 100 is zero.",
            "folder-search: skipped: cut.txt is not valid UTF-8 at byte 10. Save it as UTF-8.",
            "folder-search: empty.txt has no bytes: it is empty, or a pipe or a device.",
            $"folder-search: skipped: gone.txt cannot be read: Could not find file '{gone}'.",
            "folder-search: skipped: latin1.txt is not valid UTF-8 at byte 100000. Save it as UTF-8.",
            $"folder-search: skipped: loop.txt cannot be read: Too many levels of symbolic links in '{loop}'.",
            "folder-search: pipe.txt has no bytes: it is empty, or a pipe or a device.",
            "folder-search: skipped: utf16-bare.txt is UTF-16 without a byte order mark. Save it as UTF-8.",
            "folder-search: skipped: utf16.txt is UTF-16. Save it as UTF-8.",
            "folder-search: skipped: utf32.txt is UTF-32. Save it as UTF-8.",
            "folder-search: zero.txt has no bytes: it is empty, or a pipe or a device.",
        }));
    }

    [Test]
    public void A_killed_or_stopped_run_is_completed_by_the_next_run([Values(9, 15)] int signal)
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        foreach ((string name, string text) in Documents.All())
        {
            File.WriteAllText(folder.File($"in/{name}"), text);
        }

        string store = folder.File("index.db");
        using (SampleProcess first = SampleProcess.Start("FolderSearch", "folder-search", "index", folder.File("in"), "--store", store))
        {
            // The vectors of a batch of 256 passages take a megabyte, so the file has at least two batches.
            first.Until(() => new FileInfo(store) is { Exists: true, Length: > 1_900_000 });
            Assert.That(first.Signal(signal), Is.EqualTo(signal == 9 ? 128 + 9 : 130), first.Log);
            Assert.That(first.Log.Trim(), Is.EqualTo(signal == 9 ? string.Empty : "folder-search: Stopped. Run this again to continue."));
        }

        (int code, string output, string error) = Run("index", folder.File("in"), "--store", store);
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Match report = Regex.Match(output, @"^2000 files, (\d+) new or changed, 0 gone, 0 skipped; (\d+) passages written\n$");
        Assert.That(report.Groups[1].Value, Is.EqualTo(report.Groups[2].Value).And.Not.EqualTo("2000").And.Not.Empty, output);
        Assert.That(Run("index", folder.File("in"), "--store", store).Output, Is.EqualTo("2000 files, 0 new or changed, 0 gone, 0 skipped; 0 passages written\n"));
    }

    [TestCase("--top", "0", "--top is 0; it must be at least 1.")]
    [TestCase("--top", "1", "QUERY is blank; it must be a question.", " ")]
    public void Wrong_usage_of_search_is_reported(string option, string value, string message, string query = "x")
    {
        (int code, _, string error) = Run("search", query, option, value);
        Assert.That((code, error.Trim()), Is.EqualTo((1, message)));
    }

    [Test]
    public void A_query_with_too_many_tokens_is_refused()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("a.txt"), "The river ran.");
        Run("index", folder.Path, "--store", folder.File("index.db"));
        (int code, string output, string error) = Run("search", string.Concat(Enumerable.Repeat("river ", 600)), "--store", folder.File("index.db"));
        Assert.That((code, output), Is.EqualTo((1, string.Empty)));
        Assert.That(error, Does.StartWith("folder-search: ").And.Contain("512").And.Not.Contain("   at "));
    }

    private static (int ExitCode, string Output, string Error) Run(params string[] arguments) =>
        SampleProcess.Run("FolderSearch", "folder-search", string.Empty, arguments);
}
