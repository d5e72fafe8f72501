using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests commands while another program is at the other end of their streams, on every system.</summary>
internal sealed class RunningCommandTests
{
    private static readonly string Model = Fixtures.Model("tiny-new");

    /// <summary>Windows has no SIGTERM.</summary>
    public static IEnumerable<TestCaseData> Signals => OperatingSystem.IsWindows() ? [new("INT", 130)] : [new("INT", 130), new("TERM", 143)];

    [TestCaseSource(nameof(Signals))]
    public void A_signal_ends_a_command_after_its_complete_rows(string signal, int exitCode)
    {
        using Process process = StellaProcess.Start(
            new Dictionary<string, string?>(), "tokenize", "--input", "-", "--format", "json", "--model", Model);
        process.StandardInput.Write("a\nb\nc");
        process.StandardInput.Flush();
        string first = process.StandardOutput.ReadLine()! + process.StandardOutput.ReadLine();
        StellaProcess.Signal(process, signal);
        JsonElement rows = StellaResult.Parse(first + process.StandardOutput.ReadToEnd());
        Assert.That((process.ExitCode, process.StandardError.ReadToEnd()), Is.EqualTo((exitCode, "")));
        Assert.That(rows.GetArrayLength(), Is.EqualTo(2).Or.EqualTo(1), "the second line may not have been read yet");
    }

    [TestCase("embed", "lines", "a\nb", "b c\n")]
    [TestCase("tokenize", "lines", "a\nb", "b c\n")]
    [TestCase("embed", "jsonl", "{\"text\": \"a\"}\n{\"text", "\": \"b\"}\n")]
    public void A_row_is_written_before_the_next_line_arrives(string command, string format, string first, string second)
    {
        using Process process = StellaProcess.Start(
            new Dictionary<string, string?>(), command, "--input", "-", "--input-format", format, "--model", Model);
        foreach ((string input, int index) in new[] { (first, 0), (second, 1) })
        {
            process.StandardInput.Write(input);
            process.StandardInput.Flush();
            Task<string?> row = process.StandardOutput.ReadLineAsync();
            Assert.That(row.Wait(TimeSpan.FromMinutes(1)), "the row is written although the input is still open");
            Assert.That(StellaResult.Parse(row.Result!).GetProperty("index").GetInt32(), Is.EqualTo(index));
        }

        process.StandardInput.Close();
        Assert.That(process.WaitForExit(TimeSpan.FromMinutes(1)));
        Assert.That((process.ExitCode, process.StandardOutput.ReadToEnd()), Is.EqualTo((0, "")));
    }

    [TestCase("embed")]
    [TestCase("tokenize")]
    public void A_reader_that_leaves_ends_the_command_at_the_next_row(string command)
    {
        using Process process = StellaProcess.Start(new Dictionary<string, string?>(), command, "--input", "-", "--model", Model);
        process.StandardInput.Write("a\n");
        process.StandardInput.Flush();
        Assert.That(process.StandardOutput.ReadLine(), Does.StartWith("{\"index\":0,"));
        process.StandardOutput.Close();
        try
        {
            process.StandardInput.Write("b\n");
            process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // Linux ends the command at once, so nobody may read this line.
        }

        Assert.That(process.WaitForExit(TimeSpan.FromMinutes(1)), "the input is still open");
        Assert.That((process.ExitCode, process.StandardError.ReadToEnd()), Is.EqualTo((141, "")));
    }

    [Test]
    public void Text_in_a_pipe_is_utf8_without_a_byte_order_mark()
    {
        const string text = "Größe, 模型 and 🎉";
        using Process process = StellaProcess.Start(new Dictionary<string, string?>(), "similarity", "size", text, "--model", Model);
        using var bytes = new MemoryStream();
        process.StandardOutput.BaseStream.CopyTo(bytes);
        Assert.That(process.WaitForExit(TimeSpan.FromMinutes(1)));
        byte[] end = Encoding.UTF8.GetBytes(text + Environment.NewLine);
        Assert.That(bytes.ToArray()[^end.Length..], Is.EqualTo(end));
        Assert.That(bytes.ToArray()[0], Is.EqualTo((byte)' ').Or.EqualTo((byte)'-'));
    }
}
