using System.Text.Json.Nodes;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>
/// Tests that text of files, servers and names is escaped if it would control a terminal or forge a line.
/// <see cref="StellaProcess"/> searches the output of every run for control characters, and these runs provoke them.
/// </summary>
[Parallelizable(ParallelScope.Children)]
internal sealed class HostileTextTests
{
    /// <summary>
    /// Text that sets a title, forges a line, clears the screen, uses a C1 escape, reverses text and ends a paragraph.
    /// </summary>
    private const string Hostile = "a\u001b]0;title\u0007\nerror: all is well\u001b[2J\u009b31m\u007f\u202e\u2066\u2029z";

    private const string Escaped = @"a\u{1b}]0;title\u{7}";

    private const string Forged = "\nerror: all is well";

    private static readonly (string Name, string Model, Action<TemporaryFolder> Change)[] Folders =
    [
        ("a tensor's name in a header", "tiny-new", folder =>
        {
            SafetensorsFile weights = SafetensorsFile.Read(folder.File(StellaModelFiles.WeightsFileName));
            weights.Add(Hostile, "F33", [1], 0, 4);
            weights.Write();
        }),
        ("a tensor's name without a size that fits", "tiny-new", folder =>
        {
            SafetensorsFile weights = SafetensorsFile.Read(folder.File(StellaModelFiles.WeightsFileName));
            weights.Add(Hostile, "F32", [3], 0, 4);
            weights.Write();
        }),
        ("a tensor's name in the index of shards", "tiny-qwen2-sharded", folder =>
            Edit(folder, StellaModelFiles.ShardIndexFileName, index => index["weight_map"]![Hostile] = "model-00001-of-00002.safetensors")),
        ("a shard's name in the index", "tiny-qwen2-sharded", folder =>
            Edit(folder, StellaModelFiles.ShardIndexFileName, index => index["weight_map"]!.AsObject().First().Value!.ReplaceWith(JsonValue.Create(Hostile)))),
        ("an architecture", "tiny-new", folder => Edit(folder, "config.json", config => config["architectures"] = new JsonArray(Hostile))),
        ("an activation", "tiny-new", folder => Edit(folder, "config.json", config => config["hidden_act"] = Hostile)),
        ("a kind of position", "tiny-new", folder => Edit(folder, "config.json", config => config["position_embedding_type"] = Hostile)),
        ("a path of a module", "tiny-new", folder => Edit(folder, StellaModelFiles.ModulesFileName, modules => modules[2]!["path"] = Hostile)),
        ("a type of module", "tiny-new", folder => Edit(folder, StellaModelFiles.ModulesFileName, modules => modules[2]!["type"] = Hostile)),
        ("an activation of a head", "tiny-new", folder =>
            Edit(folder, "2_Dense_1024/config.json", head => head["activation_function"] = Hostile)),
        ("a type of tokenizer", "tiny-new", folder => Edit(folder, "tokenizer.json", tokenizer => tokenizer["model"]!["type"] = Hostile)),
        ("a normalizer", "tiny-new", folder => Edit(folder, "tokenizer.json", tokenizer => tokenizer["normalizer"] = new JsonObject { ["type"] = Hostile })),
        ("a path of a manifest", "tiny-new", folder => File.WriteAllText(
            folder.File(StellaManifest.FileName),
            new JsonObject
            {
                ["version"] = 1,
                ["files"] = new JsonObject { [Hostile] = new JsonObject { ["size"] = 1, ["sha256"] = new string('0', 64) } },
            }.ToJsonString())),
        ("an unknown field of a manifest", "tiny-new", folder => File.WriteAllText(
            folder.File(StellaManifest.FileName),
            new JsonObject { ["version"] = 1, ["files"] = new JsonObject { [Hostile] = new JsonObject { ["size"] = Hostile } } }.ToJsonString())),
    ];

    private static IEnumerable<TestCaseData> Refused => Folders.Select(row => new TestCaseData(row.Model, row.Change).SetArgDisplayNames(row.Name));

    [TestCaseSource(nameof(Refused))]
    public void Text_of_a_refused_folder_is_escaped(string model, Action<TemporaryFolder> change)
    {
        using TemporaryFolder folder = Fixtures.Copy(model);
        change(folder);
        foreach (string[] arguments in new[] { (string[])["embed", "x", "--model", folder.Path], ["verify", folder.Path] })
        {
            StellaResult result = StellaProcess.Run(arguments);
            Assert.That(result.Error, Does.Not.Contain(Forged));
            if (arguments[0] == "embed")
            {
                Assert.That(result.ExitCode, Is.EqualTo(3), result.Error);
            }
        }
    }

    [Test]
    public void Escaped_text_shows_each_control_character()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(
            folder.File(StellaManifest.FileName),
            new JsonObject { ["version"] = 1, ["files"] = new JsonObject { [Hostile] = new JsonObject { ["size"] = 1, ["sha256"] = "0" } } }.ToJsonString());
        Assert.That(StellaProcess.Run("verify", folder.Path).Error, Does.Contain(Escaped));
    }

    [Test]
    [Platform("Linux,MacOsX")]
    public void The_name_of_a_folder_is_escaped_in_every_output()
    {
        using var parent = new TemporaryFolder();
        string path = parent.File(Hostile);
        using (TemporaryFolder copy = Fixtures.Copy("tiny-new"))
        {
            Directory.Move(copy.Path, path);
            Directory.CreateDirectory(copy.Path);
        }

        StellaResult info = StellaProcess.Run("info", "--model", path);
        Check(info, 0);
        Assert.That(info.Output.Split('\n')[1], Does.StartWith("model ").And.Contain(Escaped));
        StellaResult json = StellaProcess.Run("info", "--model", path, "--format", "json");
        Assert.That(json.Rows[0].GetProperty("model").GetString(), Is.EqualTo(path), "JSON has the name without escapes for terminals");

        Check(StellaProcess.Run("manifest", path), 0);
        Check(StellaProcess.Run("verify", path), 0);
        File.AppendAllText(Path.Combine(path, "config.json"), " ");
        Check(StellaProcess.Run("verify", path), 3, Escaped);
        File.Delete(Path.Combine(path, StellaManifest.FileName));
        Check(StellaProcess.Run("embed", "x", "--model", path, "--verbosity", "debug"), 0, Escaped);
        File.Delete(Path.Combine(path, "tokenizer.json"));
        Check(StellaProcess.Run("embed", "x", "--model", path), 3, Escaped);
        Check(StellaProcess.Run("embed", "x", "--model", path, "--verbosity", "debug"), 3, Escaped);
    }

    [Test]
    [Platform("Linux")]
    public void A_progress_bar_on_a_terminal_is_not_escaped()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        Assert.That(StellaProcess.Run("manifest", folder.Path).ExitCode, Is.Zero);
        string shown = StellaProcess.RunOnTerminal("verify", folder.Path);
        Assert.That(shown, Does.Contain("\u001b[").And.Contain("100%").And.Not.Contain(@"\u{"));
        Assert.That(shown, Does.Contain("good").And.Contain("tokenizer.json"), "the terminal shows the result and the bar");
    }

    [Test]
    public void Arguments_are_escaped_in_messages()
    {
        Check(StellaProcess.Run("embed", "x", "--model", Hostile), 3, Escaped);
        Check(StellaProcess.Run("embed", "--input", Hostile), 2, Escaped);
        Check(StellaProcess.Run("embed", "x", "--precision", Hostile), 2, Escaped);
        Check(StellaProcess.Run("embed", "x", "--threads", Hostile), 2, Escaped);
        Check(StellaProcess.Run("embed", "x", $"--{Hostile}"), 2, Escaped);
        Check(StellaProcess.Run(Hostile), 2, Escaped);
        Check(StellaProcess.Run("verify", Hostile), 3, Escaped);
        Check(StellaProcess.Run("embed", "x", "--model", Fixtures.Model("tiny-new"), "--manifest", Hostile), 3, Escaped);
        Check(StellaProcess.Run("download", Hostile), 2, Escaped);
        Check(StellaProcess.Run("download", "org/name", "--revision", Hostile), 2, Escaped);
        Check(StellaProcess.Run("download", "org/name", "--endpoint", Hostile), 2, Escaped);
    }

    [Test]
    public void Input_texts_are_escaped_in_results_and_messages()
    {
        string model = Fixtures.Model("tiny-new");
        StellaResult table = StellaProcess.Run("similarity", "query", Hostile, "--model", model);
        Check(table, 0);
        Assert.That(table.Output.TrimEnd(), Does.Contain(Escaped).And.Not.Contain("\n"));
        StellaResult rows = StellaProcess.Run("similarity", "query", Hostile, "--model", model, "--format", "jsonl");
        Assert.That(rows.Rows[0].GetProperty("text").GetString(), Is.EqualTo(Hostile));
        string line = new JsonObject { ["text"] = "x", ["prompt"] = Hostile }.ToJsonString();
        Check(StellaProcess.RunWithInput(line, "embed", "--input", "-", "--input-format", "jsonl", "--model", model), 4, Escaped);
    }

    private static void Check(StellaResult result, int exitCode, string says = "")
    {
        Assert.That(result.ExitCode, Is.EqualTo(exitCode), result.Error);
        Assert.That(result.Error, Does.Contain(says).And.Not.Contain(Forged));
    }

    private static void Edit(TemporaryFolder folder, string file, Action<JsonNode> edit)
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(folder.File(file)))!;
        edit(json);
        File.WriteAllText(folder.File(file), json.ToJsonString());
    }
}
