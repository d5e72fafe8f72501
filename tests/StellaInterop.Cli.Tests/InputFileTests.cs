using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests that <c>--input</c> reads UTF-8 in bounded memory and refuses all other input.</summary>
internal sealed class InputFileTests
{
    private const string Latin = "some words\nmore words\n";
    private const string Chinese = "一些单词 上\n更多的单词\n";

    private static readonly string[] Encodings = ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"];

    [Test]
    public void Another_encoding_of_unicode_is_refused_by_name(
        [ValueSource(nameof(Encodings))] string name,
        [Values] bool hasMark,
        [Values(Latin, Chinese)] string text,
        [Values("lines", "jsonl")] string format)
    {
        Encoding encoding = name[..6] == "UTF-16"
            ? new UnicodeEncoding(bigEndian: name.EndsWith("BE", StringComparison.Ordinal), hasMark)
            : new UTF32Encoding(bigEndian: name.EndsWith("BE", StringComparison.Ordinal), hasMark);
        string content = format == "lines" ? text : string.Concat(text.Split('\n')[..2].Select(line => $"{{\"text\": \"{line}\"}}\n"));
        StellaResult result = Tokenize([.. encoding.Preamble, .. encoding.GetBytes(content)], "--input-format", format);
        Fails(result, $"Line 1: The input looks like {name}. Convert it to UTF-8");
        Assert.That(result.Error, Does.Contain("-Encoding utf8").And.Contain($"iconv -f {name}"));
        Assert.That(result.Output, Is.Empty);
    }

    [TestCase("lines", "good\0text\nfoo bar\n", "Line 1: Text 0 has a zero byte at byte 4")]
    [TestCase("lines", "good\nbad \0\0\0 text\n", "Line 2: Text 1 has a zero byte at byte 4")]
    [TestCase("jsonl", "{\"text\": \"good\0text\"}", "Line 1: Text 0 has a zero byte")]
    public void A_zero_byte_is_refused_without_naming_an_encoding(string format, string input, string says)
    {
        StellaResult result = Tokenize(Encoding.UTF8.GetBytes(input), "--input-format", format);
        Fails(result, says);
        Assert.That(result.Error, Does.Not.Contain("UTF-16").And.Not.Contain("UTF-32"));
    }

    [Test]
    public void An_escaped_zero_character_in_json_is_accepted()
    {
        StellaResult result = Tokenize("{\"text\": \"a\\u0000b\"}"u8.ToArray(), "--input-format", "jsonl");
        Assert.That((result.ExitCode, result.Rows.Length), Is.EqualTo((0, 1)), result.Error);
    }

    [Test]
    public void Blank_lines_of_jsonl_are_skipped_and_errors_name_line_and_text()
    {
        byte[] good = [.. Encoding.UTF8.Preamble, .. "\r\n{\"text\": \"a\"}\n\n \t \r\n{\"text\": \"b\"}\r\n \n"u8];
        StellaResult result = Tokenize(good, "--input-format", "jsonl");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        Assert.That(result.Rows.Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(new[] { 0, 1 }));

        Fails(Tokenize([.. good, .. "{\"txt\": 1}"u8], "--input-format", "jsonl"), "Line 7: Text 2 ");
        Fails(Tokenize([.. good, .. "{"u8], "--input-format", "jsonl"), "Line 7: Text 2 ");
        Fails(Tokenize([.. good, .. "{\"text\": \"a b c\"}"u8], "--input-format", "jsonl", "--max-tokens", "3", "--on-long-text", "error"), "Line 7: Text 2 has 5 tokens");
        Fails(Tokenize([.. good, .. "{\"text\": \"a\", \"prompt\": \"q\"}"u8], "--input-format", "jsonl"), "Line 7: Text 2: The model has no prompt");
    }

    [TestCase("tokenize", "")]
    [TestCase("embed", "")]
    [TestCase("tokenize", "--on-long-text")]
    [TestCase("embed", "--on-long-text")]
    public void Rows_before_an_error_are_written_and_the_output_stays_parseable(string command, string option)
    {
        // The bad text is in the middle of the second batch.
        string bad = option.Length > 0 ? "too many words here" : "\0";
        string input = string.Concat(Enumerable.Repeat("good\n", 300)) + bad + "\n" + string.Concat(Enumerable.Repeat("good\n", 300));
        StellaResult result = StellaProcess.RunWithInput(
            input, [command, "--input", "-", "--format", "json", "--model", Fixtures.Model("tiny-new"), "--max-tokens", "4", .. option.Length > 0 ? new[] { option, "error" } : []]);
        Fails(result, "Line 301: Text 300 ");
        JsonElement rows = StellaResult.Parse(result.Output);
        Assert.That(rows.EnumerateArray().Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(Enumerable.Range(0, 300)));
    }

    [Test]
    public void An_error_in_the_first_line_leaves_an_empty_array()
    {
        StellaResult result = Tokenize([0xFF], "--format", "json");
        Fails(result, "Line 1: Text 0 is not valid UTF-8 at byte 0 of its line.");
        Assert.That(StellaResult.Parse(result.Output).GetArrayLength(), Is.Zero);
    }

    /// <summary>The limit applies to committed writable memory.</summary>
    [TestCase("lines")]
    [TestCase("jsonl")]
    [Platform("Linux")]
    public void A_line_of_a_gigabyte_is_refused_in_bounded_memory(string format)
    {
        string good = format == "lines" ? "good" : "{\"text\": \"good\"}";
        StellaResult result = StellaProcess.RunLimitedScript(
            400_000,
            $"(echo '{good}'; head -c 1G /dev/zero | tr '\\0' a) 2> /dev/null | stella tokenize --input - --input-format {format} --model {Fixtures.Model("tiny-new")}");
        Fails(result, "Line 2: the line is longer than the limit of 67108864 bytes.");
        Assert.That(result.Rows, Has.Length.EqualTo(1));
    }

    [Test]
    [Platform("Linux")]
    public void Memory_does_not_grow_with_the_number_of_long_lines()
    {
        StellaResult result = StellaProcess.RunLimitedScript(
            300_000,
            $"for i in {{1..40}}; do yes 'some words' 2> /dev/null | head -c 4M | tr '\\n' ' '; echo; done | stella tokenize --input - --model {Fixtures.Model("tiny-new")}");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        Assert.That(result.Rows.Count(row => row.GetProperty("truncated").GetBoolean()), Is.EqualTo(40));
    }

    [Test]
    public void A_line_of_the_maximum_length_is_accepted()
    {
        byte[] line = [.. "short words "u8, .. Enumerable.Repeat((byte)'a', (64 << 20) - 12)];
        StellaResult result = Tokenize([.. line, (byte)'\n']);
        Assert.That((result.ExitCode, result.Error, result.Rows.Length), Is.EqualTo((0, "", 1)));
        Fails(Tokenize([.. line, (byte)'a']), "Line 1: the line is longer than the limit of 67108864 bytes.");
    }

    [TestCase("embed $'bad \\xff' --format json", "text 0")]
    [TestCase("tokenize good $'bad \\xff'", "text 1")]
    [TestCase("similarity $'bad \\xff' text", "the query")]
    [TestCase("similarity query good $'bad \\xff'", "text 1")]
    [Platform("Linux,MacOsX")]
    public void An_argument_that_is_not_utf8_is_refused(string command, string name)
    {
        StellaResult result = StellaProcess.RunScript($"stella {command} --model {Fixtures.Model("tiny-new")}");
        Fails(result, $"The argument for {name} has U+FFFD, which replaces bytes that are not UTF-8");
        Assert.That(result.Output, Does.Not.Contain("index"));
    }

    private static StellaResult Tokenize(byte[] input, params string[] more) =>
        StellaProcess.RunIn(StellaProcess.Folder, input, ["tokenize", "--input", "-", "--model", Fixtures.Model("tiny-new"), .. more]);

    private static void Fails(StellaResult result, string says)
    {
        Assert.That(result.ExitCode, Is.EqualTo(4), result.Error);
        Assert.That(result.Error, Does.StartWith($"error: {says}").And.Not.Contain("   at "));
    }

    /// <summary>Root can read all files, so the test drops this capability.</summary>
    [TestCase("embed --model MODEL --input FOLDER/texts", 2, "--input FOLDER/texts cannot be read", "FOLDER/texts")]
    [TestCase("embed text --model FOLDER", 3, "FOLDER/model.safetensors", "FOLDER/model.safetensors")]
    [TestCase("tokenize text --model FOLDER", 3, "FOLDER/tokenizer.json", "FOLDER/tokenizer.json")]
    [TestCase("manifest FOLDER --output FOLDER/new", 3, "FOLDER/config.json", "FOLDER/config.json")]
    [TestCase("manifest MODEL --output FOLDER/made", 3, "FOLDER/made cannot be written", "FOLDER/made")]
    [Platform("Linux")]
    public void A_file_without_permission_is_named(string command, int exitCode, string says, string closed)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("texts"), "a text");
        File.WriteAllText(folder.File("made"), "");
        string Here(string text) => text.Replace("MODEL", Fixtures.Model("tiny-new"), StringComparison.Ordinal).Replace("FOLDER", folder.Path, StringComparison.Ordinal);
        StellaResult result = StellaProcess.RunScript(
            $"chmod 0 {Here(closed)}; if [ $(id -u) = 0 ]; then drop='setpriv --bounding-set=-dac_override,-dac_read_search'; fi; "
            + $"export -f stella; $drop bash -c 'stella {Here(command)}'");
        Assert.That((result.ExitCode, result.Output), Is.EqualTo((exitCode, "")), result.Error);
        Assert.That(result.Error, Does.StartWith("error: ").And.Contain(Here(says)).And.Contain("denied"));
    }
}
