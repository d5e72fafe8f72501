using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella bulk</c>: exit codes, signals, and what a killed run leaves.</summary>
internal sealed class BulkCommandTests
{
    private const int RowCount = 1200;

    private static readonly Dictionary<string, string?> NoVariables = [];

    private TemporaryFolder folder = null!;

    private string Input => folder.File("texts.jsonl");

    private string Output => folder.File("out");

    [SetUp]
    public void WriteInput()
    {
        folder = new TemporaryFolder();
        File.WriteAllLines(Input, Enumerable.Range(0, RowCount).Select(i => $$"""{"id":"id{{i}}","text":"Text {{i}} about {{i % 7}} cats and {{i % 11}} dogs in a house."}"""));
    }

    [TearDown]
    public void RemoveInput() => folder.Dispose();

    [Test]
    public void Vectors_are_those_of_embed()
    {
        File.WriteAllLines(Input, File.ReadLines(Input).Take(5).ToArray());
        Assert.That(Bulk("--format", "jsonl", "--output-type", "int8").ExitCode, Is.Zero);
        JsonElement[] rows = Rows();
        JsonElement[] expected = StellaProcess.Run("embed", "--input", Input, "--input-format", "jsonl", "--output-type", "int8").Rows;
        Assert.That(rows.Select(row => row.GetProperty("id").GetString()), Is.EqualTo(Enumerable.Range(0, 5).Select(i => $"id{i}")));
        Assert.That(
            rows.Select(row => (row.GetProperty("scale").GetRawText(), row.GetProperty("embedding").GetRawText(), row.GetProperty("tokens").GetInt32())),
            Is.EqualTo(expected.Select(row => (row.GetProperty("scale").GetRawText(), row.GetProperty("embedding").GetRawText(), row.GetProperty("tokens").GetInt32()))));
    }

    [Test]
    public void A_run_that_is_killed_again_and_again_ends_with_the_bytes_of_one_that_is_not()
    {
        string[] arguments = ["--chunk-tokens", "600"];
        Assert.That(Bulk(arguments).ExitCode, Is.Zero);
        Dictionary<string, byte[]> expected = Parts(Output);
        Assert.That(expected, Has.Count.GreaterThan(20));

        string killed = folder.File("killed");
        int kills = 0;
        int known = 0;
        for (int run = 0; run < 100 && !File.Exists(Path.Combine(killed, "_SUCCESS")); run++)
        {
            using Process process = StellaProcess.Start(NoVariables, ["bulk", Input, "--output", killed, .. arguments]);
            // Each run makes at least one part, and is killed at some moment of another.
            int done = known + 1 + (run % 5);
            while (!process.HasExited && CountParts(killed) < done)
            {
                Thread.Sleep(1 + (run * 7 % 20));
            }

            kills += process.HasExited ? 0 : 1;
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
            known = CountParts(killed);
        }

        Assert.That(kills, Is.GreaterThan(3));
        Assert.That(Parts(killed), Is.EqualTo(expected));
        Assert.That(Directory.EnumerateFiles(Path.Combine(killed, "_tmp")), Is.Empty, "the rests of killed runs");
    }

    [TestCaseSource(typeof(RunningCommandTests), nameof(RunningCommandTests.Signals))]
    public void A_signal_ends_a_run_and_the_same_command_continues(string signal, int exitCode)
    {
        using Process process = StellaProcess.Start(NoVariables, "bulk", Input, "--output", Output, "--chunk-tokens", "600");
        while (!process.HasExited && CountParts(Output) == 0)
        {
            Thread.Sleep(10);
        }

        StellaProcess.Signal(process, signal);
        Assert.That(process.ExitCode, Is.EqualTo(exitCode));
        Assert.That(Directory.EnumerateFiles(Path.Combine(Output, "_tmp")), Is.Empty);
        Assert.That(File.Exists(Path.Combine(Output, "_SUCCESS")), Is.False);
        StellaResult second = Bulk("--chunk-tokens", "600");
        Assert.That((second.ExitCode, File.Exists(Path.Combine(Output, "_SUCCESS"))), Is.EqualTo((0, true)), second.Error);
    }

    [Test]
    public void Rows_at_fault_are_kept_and_counted()
    {
        File.AppendAllLines(Input, ["""{"id":"no text"}""", "{"]);
        StellaResult result = Bulk();
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((6, result.Output)), result.Error);
        Assert.That(result.Output, Does.Contain("2 rows are at fault").And.Contain("_errors"));
        JsonElement[] errors = [.. Directory.EnumerateFiles(Path.Combine(Output, "_errors")).SelectMany(File.ReadLines).Select(StellaResult.Parse)];
        Assert.That(errors.Select(error => error.GetProperty("row").GetInt32()), Is.EqualTo(new[] { RowCount + 1, RowCount + 2 }));
    }

    [Test]
    public void Too_many_rows_at_fault_end_the_run_and_a_higher_limit_continues_it()
    {
        File.AppendAllLines(Input, Enumerable.Repeat("{", 3));
        StellaResult refused = Bulk("--max-errors", "2");
        Assert.That((refused.ExitCode, refused.Error), Is.EqualTo((7, refused.Error)));
        Assert.That(refused.Error, Does.Contain("3 rows are at fault, and the limit is 2"));
        Assert.That(Bulk("--max-errors", "3").ExitCode, Is.EqualTo(6));
    }

    [Test]
    public void Each_refusal_has_its_exit_code_and_says_what_to_do()
    {
        Assert.That(Bulk("--chunk-tokens", "5000").ExitCode, Is.Zero);
        Assert.Multiple(() =>
        {
            Check(Bulk("--output-type", "half"), 2, "output_type: half here, float in the output folder");
            Check(StellaProcess.Run("bulk", "no-such-file.jsonl", "--output", folder.File("a")), 4, "no-such-file.jsonl");
            Check(StellaProcess.Run("bulk", Input, "--output", folder.File("b"), "--model", "no/such"), 3, "no/such");
            Check(StellaProcess.Run("bulk", Input, "--output", folder.File("c"), "--dimension", "256,300"), 2, "300");
            Check(StellaProcess.Run("bulk", Input, "--output", folder.File("c"), "--dimension", "256,x"), 2, "'x'");
            Check(StellaProcess.Run("bulk", Input, "--output", folder.File("c"), "--shard", "3/2"), 2, "'3/2'");
            Check(StellaProcess.Run("bulk", Input), 2, "--output");
        });
        // The folder of the refused model is still free for another one.
        Assert.That(StellaProcess.Run("bulk", Input, "--output", folder.File("b")).ExitCode, Is.Zero);
        File.AppendAllText(Input, """{"id":"new","text":"a row more"}""");
        Check(Bulk("--chunk-tokens", "5000"), 4, "texts.jsonl");
    }

    /// <summary>Root may read and write all files, so the test drops this right.</summary>
    [TestCase("chmod 0 FOLDER/texts.jsonl", "FOLDER/texts.jsonl", 4, "The input file 'FOLDER/texts.jsonl' cannot be read", "Check that it exists and that you may read it.")]
    [TestCase("chmod 0 FOLDER/in", "FOLDER/in", 4, "The input folder 'FOLDER/in' cannot be read", "Check that you may read it.")]
    [TestCase("chmod 0 FOLDER/in", "FOLDER/in/a.jsonl", 4, "The input 'FOLDER/in/a.jsonl' does not exist, or you may not read its folder.", "permissions of its folder.")]
    [TestCase("chmod 555 FOLDER/closed", "FOLDER/texts.jsonl", 1, "The output folder 'FOLDER/closed/out' cannot be used", "its permissions")]
    [TestCase("mkdir FOLDER/closed/out; chmod 555 FOLDER/closed/out", "FOLDER/texts.jsonl", 1, "The output folder 'FOLDER/closed/out' cannot be used", "its permissions")]
    [Platform("Linux")]
    public void A_file_or_folder_without_permission_is_named_and_the_command_runs_after_the_remedy(
        string close, string input, int exitCode, string fault, string remedy)
    {
        File.WriteAllLines(Input, File.ReadLines(Input).Take(5).ToArray());
        Directory.CreateDirectory(folder.File("in"));
        Directory.CreateDirectory(folder.File("closed"));
        File.Copy(Input, folder.File("in/a.jsonl"));
        string Here(string text) => text.Replace("FOLDER", folder.Path, StringComparison.Ordinal);
        string command = $"stella bulk {Here(input)} --output {folder.File("closed/out")}";
        StellaResult result = StellaProcess.RunScript(
            $"{Here(close)}; if [ $(id -u) = 0 ]; then drop='setpriv --bounding-set=-dac_override,-dac_read_search'; fi; export -f stella; $drop bash -c '{command}'");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((exitCode, result.Error)));
        Assert.That(result.Error, Does.Contain("error: " + Here(fault)).And.Contain(remedy).And.Not.Contain("   at "));
        Assert.That(StellaProcess.RunScript($"chmod -R u+rwX {folder.Path}; {command}").ExitCode, Is.Zero);
    }

    [Test]
    public void A_run_that_is_killed_while_it_plans_leaves_nothing_behind()
    {
        File.WriteAllLines(Input, Enumerable.Range(0, 300_000).Select(i => $$"""{"text":"a text of row {{i}}"}"""));
        using (Process process = StellaProcess.Start(NoVariables, "bulk", Input, "--output", Output, "--json-progress"))
        {
            Assert.That(process.StandardOutput.ReadLine(), Does.Contain("\"event\":\"planning\""));
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }

        Assert.That(Directory.GetFiles(Output, "*", SearchOption.AllDirectories), Is.Empty);
        File.WriteAllLines(Input, ["""{"text":"another text"}"""]);
        Assert.That(Bulk("--format", "jsonl").ExitCode, Is.Zero);
        Assert.That(Rows(), Has.Length.EqualTo(1));
    }

    [Test]
    public void An_option_names_the_format_of_the_input()
    {
        File.WriteAllLines(folder.File("data.log"), ["a text", "another text"]);
        Check(StellaProcess.Run("bulk", folder.File("data.log"), "--output", Output), 2, "--input-format");
        Check(StellaProcess.Run("bulk", folder.File("data.log"), "--output", Output, "--input-format", "xml"), 2, "'xml'");
        Assert.That(StellaProcess.Run("bulk", folder.File("data.log"), "--output", Output, "--input-format", "text", "--format", "jsonl").ExitCode, Is.Zero);
        Assert.That(Rows(), Has.Length.EqualTo(2));
    }

    [Test]
    public void Damaged_input_and_foreign_output_have_their_exit_codes()
    {
        File.WriteAllLines(Input, File.ReadLines(Input).Take(5).ToArray());
        string packed = folder.File("cut.jsonl.gz");
        using (var gzip = new GZipStream(File.Create(packed), CompressionLevel.Fastest))
        {
            gzip.Write(File.ReadAllBytes(Input));
        }

        File.WriteAllBytes(packed, File.ReadAllBytes(packed)[..^10]);
        Directory.CreateDirectory(folder.File("notes"));
        File.WriteAllText(folder.File("notes/notes.txt"), "");
        Assert.Multiple(() =>
        {
            Check(StellaProcess.Run("bulk", packed, "--output", Output), 4, "Copy or compress it again.");
            Check(StellaProcess.Run("bulk", Input, "--output", folder.File("notes")), 2, "Name an empty folder");
            Check(StellaProcess.Run("bulk", Input, "--output", Path.Combine(Input, "out")), 1, "Check the folder");
        });
        // The same command continues after a damage was mended.
        Assert.That(Bulk("--format", "jsonl").ExitCode, Is.Zero);
        string part = Directory.GetFiles(Output, "part-*").Single();
        File.AppendAllText(part, "more");
        Check(Bulk("--format", "jsonl"), 1, "Delete all files of the part");
        File.Delete(part);
        Assert.That(Bulk("--format", "jsonl").ExitCode, Is.Zero);
    }

    [Test]
    public void A_dry_run_prints_the_plan_and_writes_nothing()
    {
        StellaResult result = Bulk("--dry-run", "--dimension", "256,1024", "--output-type", "half");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        Assert.That(
            result.Output,
            Does.Contain(RowCount.ToString("N0", CultureInfo.InvariantCulture) + " rows").And.Contain("Time: about").And.Contain("Index of dimension 1024: pgvector indexes it as"));
        Assert.That(Directory.Exists(Output), Is.False);
    }

    [Test]
    public void The_progress_is_a_line_each_few_seconds_or_JSON()
    {
        Assert.That(Bulk().Error, Does.Contain("rows/s"));
        StellaResult again = StellaProcess.Run("bulk", Input, "--output", folder.File("json"), "--json-progress");
        Assert.That(again.Error, Is.Empty);
        JsonElement end = again.Rows[^1];
        Assert.That(again.Rows.Select(row => row.GetProperty("event").GetString()), Has.Some.EqualTo("embedding"));
        Assert.That((end.GetProperty("event").GetString(), end.GetProperty("rows").GetInt32()), Is.EqualTo(("end", RowCount)));
    }

    [Test]
    [Platform("Linux", Reason = "The terminal is of the program `script`.")]
    public void A_terminal_has_a_bar_with_the_share_done()
    {
        string text = StellaProcess.RunOnTerminal("bulk", Input, "--output", Output, "--chunk-tokens", "600");
        Assert.That(text, Does.Match($@"[1-9]\d* of {RowCount:N0} rows \([\d.]+ %\), [\d,]+ rows/s, [\d,]+ tokens/s, .* left").And.Contain("100%"));
        Assert.That(text, Does.Match(@"\e\[\d*A"), "the bar is painted more than once in its place");
        Assert.That(text, Does.Contain($"out is complete: {RowCount:N0} rows"));
    }

    [Test]
    public void The_last_shard_completes_the_output()
    {
        string[] arguments = ["--chunk-tokens", "600", "--shard"];
        StellaResult first = Bulk([.. arguments, "1/2"]);
        Assert.That((first.ExitCode, first.Output), Is.EqualTo((0, first.Output)), first.Error);
        Assert.That(first.Output, Does.Contain("is not complete: other shards have"));
        Assert.That(File.Exists(Path.Combine(Output, "_SUCCESS")), Is.False);
        Assert.That(Bulk([.. arguments, "2/2"]).Output, Does.Contain($"is complete: {RowCount:N0} rows"));
        CheckPartsAreThoseOfOneRun();
    }

    /// <summary>The disk is one in memory, which only the processes of the script see.</summary>
    [Test]
    [Platform("Linux")]
    public void A_run_whose_disk_fills_says_so_and_continues_when_there_is_room()
    {
        string disk = Directory.CreateDirectory(folder.File("disk")).FullName;
        StellaResult result = StellaProcess.RunScript($$"""
            bulk() { stella bulk {{Input}} --output {{disk}}/out --chunk-tokens 600; echo "exit code $?"; }
            on_small_disk() {
                mount -t tmpfs -o size=2m stella {{disk}} && bulk
                echo "parts: $(ls {{disk}}/out | grep -c part-), rests: $(ls {{disk}}/out/_tmp | wc -l), success: $(ls {{disk}}/out | grep -c _SUCCESS)"
                mount -o remount,size=64m {{disk}} && bulk
                cp -r {{disk}}/out {{Output}}
            }
            export -f stella bulk on_small_disk
            if [ $(id -u) != 0 ]; then rights='--user --map-root-user'; fi
            unshare $rights --mount bash -c on_small_disk
            """);
        Assert.That(result.Output, Does.Match(@"exit code 1\nparts: [1-9]\d*, rests: 0, success: 0\n(.*\n)*exit code 0\n"), result.Error);
        Assert.That(result.Error, Does.Contain($"error: The disk of the output folder '{disk}/out' is full. Make room and run the job again").And.Contain("No space left on device").And.Not.Contain("   at "));
        CheckPartsAreThoseOfOneRun();
    }

    [Test]
    public void A_reader_of_the_lines_that_leaves_does_not_end_the_run()
    {
        using Process process = StellaProcess.Start(NoVariables, "bulk", Input, "--output", Output, "--json-progress");
        process.StandardOutput.Close();
        process.StandardError.Close();
        Assert.That(process.WaitForExit(TimeSpan.FromMinutes(2)));
        Assert.That(File.Exists(Path.Combine(Output, "_SUCCESS")));
    }

    /// <summary>Checks the parts in <see cref="Output"/>, of chunks of 600 tokens.</summary>
    private void CheckPartsAreThoseOfOneRun()
    {
        string alone = folder.File("alone");
        Assert.That(StellaProcess.Run("bulk", Input, "--output", alone, "--chunk-tokens", "600").ExitCode, Is.Zero);
        Assert.That(Parts(Output), Is.EqualTo(Parts(alone)));
    }

    private static void Check(StellaResult result, int exitCode, string message) =>
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((exitCode, result.Error)).And.Matches<(int, string Error)>(each => each.Error.Contains(message, StringComparison.Ordinal)), message);

    private StellaResult Bulk(params string[] arguments) => StellaProcess.Run(["bulk", Input, "--output", Output, .. arguments]);

    private JsonElement[] Rows() =>
        [.. Directory.EnumerateFiles(Output, "part-*.jsonl").Order(StringComparer.Ordinal).SelectMany(File.ReadLines).Select(StellaResult.Parse)];

    /// <summary>Counts the parts of a run that may make its folder at any moment.</summary>
    private static int CountParts(string output) => Directory.Exists(output) ? Directory.GetFiles(output, "part-*").Length : 0;

    private static Dictionary<string, byte[]> Parts(string output) =>
        Directory.GetFiles(output, "part-*").ToDictionary(file => Path.GetFileName(file), File.ReadAllBytes);
}
