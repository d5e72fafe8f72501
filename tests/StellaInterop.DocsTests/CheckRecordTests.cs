using System.Text;
using System.Text.RegularExpressions;
using StellaInterop.Tests;

namespace StellaInterop.DocsTests;

/// <summary>CI leaves the long native checks out only if native/checks.json has their results for the same files.</summary>
internal sealed partial class CheckRecordTests
{
    private const string Seed = "native/fuzz/corpus/config/10-gte-native-2_normalize";
    private const string Weights = "tests/fixtures/forms/models/cls-dense/2_Dense_16/model.safetensors";

    /// <summary>One file of each kind that determines the results.</summary>
    private static readonly string[] Inputs =
    [
        "native/stella-core/src/lib.rs",
        "native/stella-core/tests/load.rs",
        "native/stella-ffi/build.rs",
        "native/stella-ffi/Cargo.toml",
        "native/Cargo.toml",
        "native/Cargo.lock",
        "native/lsan.supp",
        "native/Rids.props",
        "native/prebuilt/linux-x64/manifest.json",
        "native/fuzz/targets/abi.rs",
        "native/fuzz/json.dict",
        Seed,
        Weights,
        "tests/fixtures/models/tiny-new/config.json",
        "tests/fixtures/golden/tiny-new.json",
        "src/StellaInterop.Models.Mini/model/config.json",
        "src/StellaInterop/Interop/Abi/NativeMethods.g.cs",
        ".cake/checks.cake",
        ".cake/foreign.cake",
    ];

    private static readonly string[] All = [.. CheckRecord.Table.Select(check => check.Task)];

    private TemporaryFolder tree = null!;

    [SetUp]
    public void CopyTreeAndRecordIt()
    {
        tree = new TemporaryFolder();
        foreach (string file in Inputs)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(tree.File(file))!);
            File.Copy(Path.Combine(SourceTree.Root, file), tree.File(file));
        }

        RecordAll();
    }

    [TearDown]
    public void DeleteTree() => tree.Dispose();

    [Test]
    public void Recorded_checks_of_the_same_files_are_left_out()
    {
        (IReadOnlyList<string> due, string reason) = CheckRecord.Decide(tree.Path, isForced: false);
        Assert.That(due, Is.Empty);
        Assert.That(reason, Does.StartWith("REDUCED: Sanitize, Fuzz").And.Contain("output of rustc --version; ").And.Contain("output of valgrind --version"));
        Assert.That(reason, Does.EndWith(" Run all: dotnet cake --target=NativeChecks").And.Not.Contain("\n"));
    }

    [TestCaseSource(nameof(Inputs))]
    public void One_changed_byte_makes_the_checks_of_a_file_run(string file)
    {
        byte[] bytes = File.ReadAllBytes(tree.File(file));
        bytes[^1] ^= 1;
        File.WriteAllBytes(tree.File(file), bytes);
        AssertRun(ChecksOf(file), "does not have results for these files");
    }

    [TestCaseSource(nameof(Inputs))]
    public void A_removed_file_makes_its_checks_run(string file)
    {
        File.Delete(tree.File(file));
        AssertRun(ChecksOf(file), "does not have results for these files");
    }

    [TestCase("native/stella-core/tests/new.rs")]
    [TestCase("native/stella-new/src/lib.rs")]
    [TestCase("native/new.toml")]
    [TestCase("native/fuzz/corpus/abi/new")]
    [TestCase("tests/fixtures/models/new/config.json")]
    public void An_added_file_makes_all_checks_run(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(tree.File(file))!);
        File.WriteAllBytes(tree.File(file), []);
        AssertAllRun("does not have results for these files");
    }

    [Test]
    public void A_renamed_file_makes_all_checks_run()
    {
        File.Move(tree.File(Seed), tree.File(Seed + "2"));
        AssertAllRun("does not have results for these files");
    }

    [TestCase("native/target/release/library.so")]
    [TestCase("native/.cargo/config.toml")]
    [TestCase("src/StellaInterop/Errors/StellaException.cs")]
    public void Other_files_do_not_count(string file)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(tree.File(file))!);
        File.WriteAllText(tree.File(file), "text");
        Assert.That(CheckRecord.Decide(tree.Path, isForced: false).Due, Is.Empty);
    }

    [Test]
    public void Line_ends_that_a_checkout_converts_do_not_count()
    {
        string[] text = [.. Inputs.Where(file => file != Weights && !IsUnconverted(file)), CheckRecord.FileName];
        foreach (string file in text)
        {
            File.WriteAllText(tree.File(file), File.ReadAllText(tree.File(file)).ReplaceLineEndings("\r\n"));
        }

        Assert.That(text, Has.Length.GreaterThan(10));
        Assert.That(CheckRecord.Decide(tree.Path, isForced: false).Due, Is.Empty);
    }

    [Test]
    public void Line_ends_of_a_file_that_no_checkout_converts_count()
    {
        File.WriteAllText(tree.File(Seed), File.ReadAllText(tree.File(Seed)).ReplaceLineEndings("\r\n"));
        AssertAllRun("does not have results for these files");
    }

    [Test]
    public void Invalid_UTF8_counts_byte_for_byte()
    {
        // A decoder would replace both bytes with the same character.
        File.WriteAllBytes(tree.File("native/lsan.supp"), [0x80]);
        RecordAll();
        File.WriteAllBytes(tree.File("native/lsan.supp"), [0x81]);
        AssertAllRun("does not have results for these files");
    }

    [Test]
    public void Unconverted_folders_are_those_of_git() => Assert.That(
        SourceHash.Unconverted,
        Is.EquivalentTo(UnconvertedByGit().Matches(Document.Read(".gitattributes")).Select(match => match.Groups[1].Value)));

    [Test]
    public void All_checks_run_on_request()
    {
        (IReadOnlyList<string> due, string reason) = CheckRecord.Decide(tree.Path, isForced: true);
        Assert.That(due, Is.EqualTo(All));
        Assert.That(reason, Does.StartWith("FULL: ").And.EndsWith(" must run, because --full was given."));
    }

    [Test]
    public void A_missing_record_makes_all_checks_run()
    {
        File.Delete(tree.File(CheckRecord.FileName));
        AssertAllRun("native/checks.json does not exist");
    }

    [Test]
    public void A_truncated_record_makes_all_checks_run()
    {
        byte[] whole = File.ReadAllBytes(tree.File(CheckRecord.FileName));
        // The last two bytes are a brace and a line feed.
        for (int length = 0; length < whole.Length - 1; length++)
        {
            File.WriteAllBytes(tree.File(CheckRecord.FileName), whole[..length]);
            AssertAllRun("native/checks.json is not valid: ");
        }
    }

    [TestCase("\"format\": 1", "\"format\": 0", "its format is 0, not 1")]
    [TestCase("\"format\": 1,", "", "format")]
    [TestCase("\"checks\":", "\"unknown\": 1, \"checks\":", "unknown")]
    [TestCase("\"Valgrind\":", "\"Other\":", "it has checks that are not in the table: Other")]
    [TestCase("\"count\": 3", "\"count\": 0", "tools, levels or results are missing: Valgrind")]
    [TestCase("\"levels\": [", "\"levels\": [null,", "tools, levels or results are missing: Sanitize, Fuzz")]
    [TestCase("output of valgrind --version", "", "tools, levels or results are missing: Valgrind")]
    [TestCase("\"results\": [", "\"results\": [null,", "tools, levels or results are missing: Sanitize, Fuzz")]
    public void An_incomplete_record_makes_all_checks_run(string from, string to, string problem)
    {
        tree.Edit(CheckRecord.FileName, from, to);
        AssertAllRun("native/checks.json is not valid: ");
        Assert.That(CheckRecord.Decide(tree.Path, isForced: false).Reason, Does.Contain(problem));
    }

    [Test]
    public void A_result_is_recorded_only_for_files_that_did_not_change_during_the_check()
    {
        CheckRun run = NewRun(CheckRecord.Table[0]);
        File.AppendAllText(tree.File("native/lsan.supp"), "#");
        Assert.That(() => CheckRecord.Add(tree.Path, CheckRecord.Table[0], run), Throws.InvalidOperationException.With.Message.Contains("was changed during the check"));
    }

    [Test]
    public void A_check_without_a_result_runs_alone()
    {
        File.Delete(tree.File(CheckRecord.FileName));
        foreach (NativeCheck check in CheckRecord.Table.Where(check => check.Task != "Fuzz"))
        {
            CheckRecord.Add(tree.Path, check, NewRun(check));
        }

        (IReadOnlyList<string> due, string reason) = CheckRecord.Decide(tree.Path, isForced: false);
        Assert.That(due, Is.EqualTo(new[] { "Fuzz" }));
        Assert.That(reason, Is.EqualTo("FULL: Fuzz must run, because native/checks.json does not have results for these files."));
    }

    [Test]
    public void A_result_replaces_a_record_that_cannot_be_read()
    {
        File.WriteAllText(tree.File(CheckRecord.FileName), "{");
        CheckRecord.Add(tree.Path, CheckRecord.Table[0], NewRun(CheckRecord.Table[0]));
        Assert.That(CheckRecord.Read(tree.Path).Record!.Checks.Keys, Is.EqualTo(new[] { CheckRecord.Table[0].Task }));
    }

    [Test]
    public void An_incomplete_result_is_not_recorded()
    {
        CheckRun run = NewRun(CheckRecord.Table[0]) with { Results = [] };
        Assert.That(() => CheckRecord.Add(tree.Path, CheckRecord.Table[0], run), Throws.InvalidOperationException.With.Message.Contains(CheckRecord.Table[0].Task));
    }

    [Test]
    public void The_committed_record_is_valid() => Assert.That(CheckRecord.Read(SourceTree.Root).Problem, Is.Empty);

    [Test]
    public void Every_check_of_the_table_is_a_task_of_its_file()
    {
        foreach (NativeCheck check in CheckRecord.Table)
        {
            Assert.That(Document.Read(check.DefinedIn), Does.Contain($"Task(\"{check.Task}\")"));
        }
    }

    /// <summary>Native code that reads a file outside <c>native/</c> names its path from the root.</summary>
    [Test]
    public void Files_that_native_code_reads_are_inputs()
    {
        string[] inputs = [.. CheckRecord.Table.SelectMany(check => CheckRecord.InputFiles(SourceTree.Root, check)).Distinct()];
        string[] read = [.. inputs.Where(file => file.EndsWith(".rs", StringComparison.Ordinal))
            .SelectMany(file => PathFromRoot().Matches(Document.Read(file)))
            .Select(match => match.Value)
            .Where(path => Path.Exists(Path.Combine(SourceTree.Root, path)))
            .Distinct()];
        Assert.That(read, Has.Member("tests/fixtures").And.Member("src/StellaInterop.Models.Mini/model"));
        Assert.That(read.Where(path => !inputs.Any(input => $"{input}/".StartsWith($"{path}/", StringComparison.Ordinal))), Is.Empty);
        Assert.That(inputs, Is.SupersetOf(Inputs).And.None.StartsWith("native/target"));
    }

    /// <summary>Returns the checks that a file defines; all checks if it defines none, because it is then an input of all.</summary>
    private static string[] ChecksOf(string file)
    {
        string[] defined = [.. CheckRecord.Table.Where(check => check.DefinedIn == file).Select(check => check.Task)];
        return defined.Length > 0 ? defined : All;
    }

    private void AssertAllRun(string because) => AssertRun(All, because);

    private void AssertRun(string[] checks, string because)
    {
        (IReadOnlyList<string> due, string reason) = CheckRecord.Decide(tree.Path, isForced: false);
        Assert.That(due, Is.EqualTo(checks));
        Assert.That(reason, Does.StartWith($"FULL: {string.Join(", ", checks)} must run").And.Contain(because).And.Not.Contain("\n"));
    }

    private void RecordAll()
    {
        foreach (NativeCheck check in CheckRecord.Table)
        {
            CheckRecord.Add(tree.Path, check, NewRun(check));
        }
    }

    private CheckRun NewRun(NativeCheck check) => new(
        CheckRecord.HashInputs(tree.Path, check),
        [.. check.Tools.Select(tool => $"output of {tool}")],
        ["portable"],
        [new CheckResult("tests", 1 + Array.IndexOf(All, check.Task), 0)]);

    private static bool IsUnconverted(string file) => SourceHash.Unconverted.Any(folder => file.StartsWith(folder, StringComparison.Ordinal));

    [GeneratedRegex(@"^(\S+/)\*\* -text$", RegexOptions.Multiline)]
    private static partial Regex UnconvertedByGit();

    [GeneratedRegex("(?<=[\"/])(?:bench|docs|samples|src|tests)/[A-Za-z0-9_./-]+")]
    private static partial Regex PathFromRoot();
}
