using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests the warnings of a load on standard error.</summary>
internal sealed class LoadWarningTests
{
    /// <summary>A folder with the heads of Stella but without its prompts.</summary>
    private const string Warned = "heads-own-prompts";

    private static readonly string[] StandIns = ["s2p_query", "s2s_query"];

    [TestCase("embed", "river")]
    [TestCase("tokenize", "river")]
    [TestCase("similarity", "river", "stone", "--format", "jsonl")]
    [TestCase("info", "--format", "json")]
    public void Every_command_that_loads_a_model_writes_each_warning_once_to_standard_error(params string[] command)
    {
        string folder = FormGolden.Read(Warned).Folder;
        StellaResult result = StellaProcess.Run([.. command, "--model", folder]);
        StellaResult quiet = StellaProcess.Run([.. command, "--model", folder, "--verbosity", "quiet"]);
        string[] expected =
        [
            .. StandIns.Select(name =>
                $"warning: {Path.Combine(folder, "config_sentence_transformers.json")} has no prompt {name}. The prompt of the Stella v5 model card is used instead."),
        ];
        Assert.Multiple(() =>
        {
            Assert.That(result.ExitCode, Is.Zero);
            Assert.That(result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries), Is.EqualTo(expected));
            Assert.That(result.Rows, Is.All.Matches<JsonElement>(row => row.ValueKind == JsonValueKind.Object));
            Assert.That((quiet.ExitCode, quiet.Error, quiet.Output), Is.EqualTo((0, "", result.Output)));
        });
    }

    [Test]
    public void The_debug_log_has_each_warning_once()
    {
        StellaResult result = StellaProcess.Run("info", "--model", FormGolden.Read(Warned).Folder, "--verbosity", "debug");
        Assert.That(result.Error.Split('\n').Count(line => line.Contains("is used instead")), Is.EqualTo(StandIns.Length), result.Error);
        Assert.That(result.Error, Does.Not.Contain("warning: "));
    }

    [TestCaseSource(typeof(FormGolden), nameof(FormGolden.Forms))]
    public void A_published_folder_loads_without_messages(string name)
    {
        StellaResult result = StellaProcess.Run("tokenize", "river", "--model", FormGolden.Read(name).Folder);
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Error.Length > 0, Is.EqualTo(name == Warned), result.Error);
    }

    [Test]
    public void Text_of_a_folder_in_a_warning_is_escaped_and_stays_on_one_line()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string config = folder.File("config.json");
        File.WriteAllText(config, """{ "new\u001b[2J\nkey": 1,""" + File.ReadAllText(config).TrimStart()[1..]);
        StellaResult result = StellaProcess.Run("tokenize", "river", "--model", folder.Path);
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        string[] lines = result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines, Has.Length.EqualTo(1).And.All.StartsWith("warning: "));
        Assert.That(lines[0], Does.Contain("config.json").And.Contain("key"));
    }
}
