using System.Runtime.InteropServices;
using System.Text;

namespace StellaInterop.Tests;

/// <summary>Tests exit codes and error messages.</summary>
internal sealed class ErrorTests
{
    private static readonly object[] WrongUsage =
    [
        new object[] { "embed", "--colour", "red" },
        new object[] { "similarity", "a", "b", "--colour", "red", "|after --" },
        new object[] { "embed", "--raw", "--colour", "x", "|after --" },
        new object[] { "embed", "x", "--threads", "5000", "|1024" },
        new object[] { "embed", "--input", "/", "|--input /" },
        new object[] { "paint" },
        new object[] { "embed" },
        new object[] { "embed", "x", "--input", "-" },
        new object[] { "similarity", "only a query" },
        new object[] { "embed", "x", "--prompt", "query", "|Its prompts are s2p_query, s2s_query" },
        new object[] { "embed", "x", "--prompt", "", "|--prompt is empty" },
        new object[] { "embed", "x", "--precision", "f64", "|auto, f32, bf16, int8" },
        new object[] { "embed", "x", "--encoder", "candle", "--precision", "bf16", "|bf16 is not available" },
        new object[] { "embed", "x", "--encoder", "candle", "--precision", "int8", "|int8 is not available" },
        new object[] { "embed", "x", "--dimension", "512", "|256, 768 and 1024" },
        new object[] { "embed", "x", "--dimension", "wide" },
        new object[] { "embed", "x", "--max-tokens", "0", "|1 to 8192" },
        new object[] { "embed", "x", "--max-tokens", "8193", "|8192" },
        new object[] { "embed", "x", "--max-tokens", "1", "|2 special tokens" },
        new object[] { "embed", "x", "--threads", "0", "|at least 1" },
        new object[] { "embed", "--input", "/no/such/file", "|/no/such/file" },
    ];

    [TestCaseSource(nameof(WrongUsage))]
    public void Wrong_usage_exits_with_2(params string[] arguments)
    {
        string[] given = [.. arguments.Where(argument => !argument.StartsWith('|'))];
        StellaResult result = StellaProcess.Run(given);
        Check(result, 2);
        foreach (string says in arguments.Except(given))
        {
            Assert.That(result.Error, Does.Contain(says[1..]));
        }
    }

    [Test]
    public void A_refused_model_folder_exits_with_3_and_one_line_per_cause()
    {
        Check(StellaProcess.Run("embed", "x", "--model", "/no/such/folder"), 3, "/no/such/folder does not exist");
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("config.json"), "{");
        StellaResult damaged = StellaProcess.Run("info", "--model", folder.Path);
        Check(damaged, 3, "config.json");
        string[] lines = damaged.Error.TrimEnd().Split('\n');
        Assert.That(lines, Has.Length.EqualTo(2));
        Assert.That(lines[1], Does.StartWith("caused by: ").And.Contain("line 1"));

        File.WriteAllText(folder.File("config.json"), File.ReadAllText(Path.Combine(Fixtures.Model("tiny-new"), "config.json")));
        File.WriteAllText(folder.File("tokenizer.json"), "{");
        Check(StellaProcess.Run("info", "--model", folder.Path), 3, "tokenizer.json");

        StellaResult debug = StellaProcess.Run("info", "--model", folder.Path, "--verbosity", "debug");
        Assert.That(debug.Error, Does.Contain("   at "), "the debug output has a stack trace");
    }

    /// <summary>A backtrace would contain paths of the build machine, and messages would differ between machines.</summary>
    [TestCase("config.json", "{")]
    [TestCase("tokenizer.json", "{\"model\": 1}")]
    [TestCase("model.safetensors", "12345678 is not a header")]
    [TestCase("2_Dense_1024/config.json", "[]")]
    public void Messages_are_the_same_with_and_without_backtraces(string file, string content)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File(file), content);
        foreach (string encoder in (string[])["kernels", "candle"])
        {
            StellaResult[] results = [.. new[] { null, "0", "1", "full" }.Select(value => StellaProcess.RunWith(
                new Dictionary<string, string?> { ["RUST_BACKTRACE"] = value, ["RUST_LIB_BACKTRACE"] = value },
                "embed", "x", "--model", folder.Path, "--encoder", encoder))];
            Check(results[0], 3, file);
            Assert.That(results, Has.All.EqualTo(results[0]));
        }
    }

    [Test]
    public void Bad_input_text_exits_with_4_and_names_the_text()
    {
        string model = Fixtures.Model("tiny-new");
        StellaResult Embed(byte[] input, params string[] more) =>
            StellaProcess.RunIn(StellaProcess.Folder, input, ["tokenize", "--input", "-", "--model", model, .. more]);
        Check(Embed([.. "good\n"u8, 0xff, (byte)'\n']), 4, "Line 2: Text 1 is not valid UTF-8", rows: 1);
        Check(Embed([.. "{\"text\": \""u8, 0xff, .. "\"}"u8], "--input-format", "jsonl"), 4, "Text 0");
        Check(Embed("{\"text\": \"a\"}\n{\"txt\": 1}"u8.ToArray(), "--input-format", "jsonl"), 4, "Line 2: Text 1", rows: 1);
        Check(Embed("{\"text\": \"a\"}\nnot json"u8.ToArray(), "--input-format", "jsonl"), 4, "Line 2: Text 1", rows: 1);
        Check(Embed("{\"text\": \"a\", \"prompt\": \"q\"}"u8.ToArray(), "--input-format", "jsonl"), 4, "Text 0: The model has no prompt \"q\". Its prompts are s2p_query");
        Check(Embed("{\"text\": \"a\", \"prompt\": \"\"}"u8.ToArray(), "--input-format", "jsonl"), 4, "Text 0");
        Check(Embed("{\"text\": \"\\ud800\"}"u8.ToArray(), "--input-format", "jsonl"), 4, "Text 0");

        // The text is in the second batch, so an index within the batch would be wrong.
        string lines = string.Concat(Enumerable.Repeat("good\n", 300)) + string.Concat(Enumerable.Repeat("long ", 600));
        StellaResult tooLong = Embed(Encoding.UTF8.GetBytes(lines), "--on-long-text", "error");
        Check(tooLong, 4, "Line 301: Text 300 has 602 tokens, but the limit is 512", rows: 300);
    }

    [Test]
    public void An_unknown_prompt_of_the_option_exits_with_2_for_any_rows(
        [Values("embed", "tokenize")] string command,
        [Values("", "{\"text\": \"a\", \"prompt\": \"document\"}", "{\"text\": \"a\", \"prompt\": \"q\"}", "not json")] string input)
    {
        StellaResult result = StellaProcess.RunWithInput(
            input, command, "--input", "-", "--input-format", "jsonl", "--prompt", "q", "--format", "json", "--model", Fixtures.Model("tiny-new"));
        Check(result, 2, "The model has no prompt \"q\". Its prompts are s2p_query, s2s_query");
        Assert.That(result.Error, Does.Not.Contain("Text 0"));
    }

    [Test]
    public void An_unknown_prompt_of_a_row_exits_with_4_and_names_the_row([Values("embed", "tokenize")] string command, [Values] bool withOption)
    {
        string[] option = withOption ? ["--prompt", "s2p"] : [];
        StellaResult result = StellaProcess.RunWithInput(
            "{\"text\": \"a\"}\n{\"text\": \"b\", \"prompt\": \"q\"}\n{\"text\": \"c\", \"prompt\": \"q\"}",
            [command, "--input", "-", "--input-format", "jsonl", "--model", Fixtures.Model("tiny-new"), .. option]);
        Check(result, 4, "Text 1: The model has no prompt \"q\". Its prompts are s2p_query", rows: 1);
    }

    [Test]
    public void An_unknown_prompt_of_similarity_exits_with_2() => Check(
        StellaProcess.Run("similarity", "a", "b", "--prompt", "q", "--model", Fixtures.Model("tiny-new")), 2, "Its prompts are s2p_query");

    [Test]
    public void A_missing_or_foreign_native_library_is_reported_with_every_path()
    {
        using var copy = new TemporaryFolder();
        foreach (string file in Directory.EnumerateFiles(StellaProcess.Folder))
        {
            File.Copy(file, copy.File(Path.GetFileName(file)));
        }

        string library = copy.File(OperatingSystem.IsWindows() ? "stella_interop.dll" : "libstella_interop.so");
        File.Delete(library);
        StellaResult Info() => StellaProcess.RunIn(copy.Path, null, "info", "--model", Fixtures.Model("tiny-new"));
        Check(Info(), 1, $"{library}: no such file");

        File.WriteAllText(library, "not a library");
        StellaResult text = Info();
        Check(text, 1, library);
        Assert.That(text.Error, Does.Not.Contain($"{library}: no such file"));

        string other = OperatingSystem.IsWindows() ? "clrjit.dll" : "libSystem.Native.so";
        File.Copy(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), other), library, overwrite: true);
        Check(Info(), 1, $"{library} is not a StellaInterop library");
    }

    private static void Check(StellaResult result, int exitCode, string says = "", int rows = 0)
    {
        Assert.That(result.ExitCode, Is.EqualTo(exitCode), result.Error);
        Assert.That(result.Error, Does.StartWith("error: ").And.Contain(says));
        Assert.That(result.Error, Does.Not.Contain("   at "), "no stack trace");
        Assert.That(result.Rows, Has.Length.EqualTo(rows), "only the rows before the error are written");
    }
}
