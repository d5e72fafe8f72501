using System.Diagnostics;

namespace StellaInterop.Tests;

/// <summary>Tests the behaviour and exit code for each state of standard input, output and error.</summary>
[Platform("Linux")]
internal sealed class StandardStreamTests
{
    private const string Commands =
        "embed text|tokenize text|tokenize text --format json|similarity query text|similarity query text --format jsonl|info|info --format json"
        + "|verify MODEL|manifest MODEL --output FILE|download org/name --offline --dir MODEL|--help|embed --help|--version";

    private static readonly string Model = Fixtures.Model("tiny-new");

    private TemporaryFolder folder = null!;

    [OneTimeSetUp]
    public void MakeFolder() => folder = new TemporaryFolder();

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCaseSource(nameof(EveryCommand))]
    public void A_reader_that_left_ends_a_command_quietly(string command) => Assert.That(
        // The reader has left before the command starts.
        StellaProcess.RunScript($"exec 5> >(true); wait $!; {Resolve(command)} >&5"), Is.EqualTo(new StellaResult(141, "", "")));

    [TestCaseSource(nameof(EveryCommand))]
    public void A_full_disk_is_an_error_of_every_command(string command)
    {
        StellaResult result = StellaProcess.RunScript($"{Resolve(command)} > /dev/full");
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((6, "")));
        Assert.That(result.Error, Does.EndWith("error: Standard output cannot be written: No space left on device. The output is not complete.\n"));
    }

    [TestCaseSource(nameof(EveryCommand))]
    public void A_closed_standard_output_is_an_error_of_every_command(string command)
    {
        StellaResult result = StellaProcess.RunScript($"{Resolve(command)} >&-");
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((6, "")));
        Assert.That(result.Error, Does.EndWith("it was closed before the command started. The output is not complete.\n"));
    }

    [TestCaseSource(nameof(EveryCommand))]
    public void A_command_without_a_usable_standard_error_gives_the_same_output(string command)
    {
        string usual = StellaProcess.RunScript(Resolve(command)).Output;
        foreach (string state in (string[])["2>&-", "2> /dev/full", "<&-"])
        {
            StellaResult result = StellaProcess.RunScript($"{Resolve(command)} {state}");
            Assert.That((result.ExitCode, result.Output), Is.EqualTo((0, usual)), state);
        }
    }

    [TestCase("embed")]
    [TestCase("tokenize")]
    public void A_command_with_endless_input_ends_when_its_reader_leaves(string command)
    {
        StellaResult result = StellaProcess.RunScript(
            $"yes 'some words' 2> /dev/null | stella {command} --input - --model {Model} | head -n 1; exit ${{PIPESTATUS[1]}}");
        Assert.That((result.ExitCode, result.Error, result.Rows.Length), Is.EqualTo((141, "", 1)));
    }

    [Test]
    public void A_reader_that_leaves_while_the_command_waits_for_input_ends_the_command()
    {
        var clock = Stopwatch.StartNew();
        StellaResult result = StellaProcess.RunScript(
            $"stella tokenize --input - --model {Model} < <(echo a; exec sleep 50 2> /dev/null) | head -n 1; exit ${{PIPESTATUS[0]}}");
        Assert.That((result.ExitCode, result.Error, result.Rows.Length), Is.EqualTo((141, "", 1)));
        Assert.That(clock.Elapsed, Is.LessThan(TimeSpan.FromSeconds(40)), "the command does not wait for the next line");
    }

    /// <summary>The texts of one batch take minutes. The command must notice within the batch that the reader left.</summary>
    [Test]
    public void A_reader_that_leaves_while_a_batch_is_computed_ends_the_command()
    {
        StellaResult result = StellaProcess.RunScript(
            "exec 5> >(sleep 3); "
            + $"yes \"$(printf 'word %.0s' {{1..3000}})\" 2> /dev/null | stella embed --input - --max-tokens 8192 >&5");
        Assert.That((result.ExitCode, result.Output, result.Error), Is.EqualTo((141, "", "")));
    }

    [TestCase("")]
    [TestCase("dd oflag=nonblock count=0 < /dev/null 2> /dev/null;", Description = "dd sets the flag on the shared pipe")]
    public void A_slow_reader_gets_every_row_once(string prepare)
    {
        File.WriteAllLines(folder.File("texts"), Enumerable.Range(0, 5000).Select(i => $"text number {i}"));
        string tokenize = $"stella tokenize --input {folder.File("texts")} --model {Model}";
        StellaResult result = StellaProcess.RunScript($"({prepare} {tokenize}) | (sleep 2; exec cat); exit ${{PIPESTATUS[0]}}");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        Assert.That(result.Output, Is.EqualTo(StellaProcess.RunScript($"{tokenize} > {folder.File("rows")}; cat {folder.File("rows")}").Output));
        Assert.That(result.Rows.Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(Enumerable.Range(0, 5000)));
    }

    [Test]
    public void A_non_blocking_standard_input_is_read_to_its_end()
    {
        StellaResult result = StellaProcess.RunScript(
            $"(dd iflag=nonblock count=0 of=/dev/null 2> /dev/null; stella tokenize --input - --model {Model}) < <(sleep 1; echo a; sleep 1; echo b)");
        Assert.That((result.ExitCode, result.Error, result.Rows.Length), Is.EqualTo((0, "", 2)));
    }

    [TestCase("<&-", "Standard input was closed before the command started.")]
    [TestCase("< /", "Is a directory")]
    public void A_standard_input_that_cannot_be_read_is_wrong_usage(string state, string says)
    {
        StellaResult result = StellaProcess.RunScript($"stella embed --input - --model {Model} {state}");
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((2, "")));
        Assert.That(result.Error, Is.EqualTo($"error: --input - cannot be read.\ncaused by: {says}\n"));
    }

    /// <summary>All processes with the same open file share its position.</summary>
    [Test]
    public void Commands_that_share_a_file_do_not_overwrite_each_other()
    {
        string tokenize = $"stella tokenize --model {Model}";
        StellaResult result = StellaProcess.RunScript(
            $"({tokenize} a; echo between; {tokenize} b; {tokenize} --input /no/such) > {folder.File("all")} 2>&1; cat {folder.File("all")}");
        string[] lines = result.Output.Split('\n');
        Assert.That(lines[0], Does.StartWith("{\"index\":0"));
        Assert.That(lines[1], Is.EqualTo("between"));
        Assert.That(lines[2], Does.StartWith("{\"index\":0"));
        Assert.That(lines[3], Is.EqualTo("error: --input /no/such cannot be read."));
    }

    private static string[] EveryCommand() => Commands.Split('|');

    private string Resolve(string command)
    {
        string[] loads = ["embed text", "tokenize text", "similarity query"];
        string model = loads.Any(command.StartsWith) ? $" --model {Model}" : "";
        return $"stella {command.Replace("MODEL", Model, StringComparison.Ordinal).Replace("FILE", folder.File("manifest"), StringComparison.Ordinal)}{model} --verbosity quiet"
            .Replace("--version --verbosity quiet", "--version", StringComparison.Ordinal)
            .Replace("stella --help --verbosity quiet", "stella --help", StringComparison.Ordinal);
    }
}
