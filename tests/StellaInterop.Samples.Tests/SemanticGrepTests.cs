using System.Text;

namespace StellaInterop.Samples.Tests;

/// <summary>Tests the console program.</summary>
internal sealed class SemanticGrepTests
{
    private const string Text = "Banana bread with walnuts\n\nSteps to recover access to your account\nThe new phone has a better camera\n";

    [Test]
    public void The_line_closest_in_meaning_is_first()
    {
        (int code, string output, _) = SampleProcess.Run("Console", "semantic-grep", Text, "How do I reset my password?", "2");
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That((code, lines.Length), Is.EqualTo((0, 2)));
        Assert.That(lines[0], Does.Match(@"^0\.\d{3}  Steps to recover access to your account$"));
    }

    [Test]
    public void An_input_without_text_exits_with_1() =>
        Assert.That(SampleProcess.Run("Console", "semantic-grep", "\n", "anything").ExitCode, Is.EqualTo(1));

    [Test]
    public void Words_at_the_end_of_a_long_line_are_found()
    {
        string line = $"{string.Join(' ', Documents.All().Skip(20).Take(160).Select(document => document.Text))} They also own a zanzibar coffee plantation.";
        (int code, string output, string error) = SampleProcess.Run("Console", "semantic-grep", $"{Text}{line}\n{Text}", "zanzibar coffee plantation", "1");
        Assert.That((code, error), Is.EqualTo((0, string.Empty)));
        Assert.That(output, Does.EndWith("They also own a zanzibar coffee plantation.\n").And.Not.Contain("  Banana"));
    }

    [Test]
    public void Equal_lines_keep_their_order_and_a_byte_order_mark_is_not_text()
    {
        byte[] input = [.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes("The river ran.\r\n\r\nthe river ran.\nThe River ran.")];
        (int code, string output, _) = SampleProcess.Run("Console", "semantic-grep", input, "the river", "2");
        Assert.That(code, Is.Zero);
        Assert.That(output, Does.Match(@"^(0\.\d{3})  The river ran\.\n\1  the river ran\.\n$"));
    }

    private static IEnumerable<TestCaseData> Refused() =>
    [
        new(Encoding.Unicode.GetPreamble().Concat(Encoding.Unicode.GetBytes("ab\n")).ToArray(), "standard input is UTF-16. Save it as UTF-8."),
        new(Encoding.Unicode.GetBytes("ab\n"), "standard input is UTF-16 without a byte order mark. Save it as UTF-8."),
        new(new byte[] { 1, 2, 3, 0, 0 }, "standard input is a binary file: byte 3 is zero."),
        new((byte[])[.. "good\nba"u8, 0xff], "standard input is not valid UTF-8 at byte 7. Save it as UTF-8."),
        new(new byte[200_000].Select(_ => (byte)'a').Append((byte)0xc3).ToArray(), "standard input is not valid UTF-8 at byte 200000. Save it as UTF-8."),
    ];

    [TestCaseSource(nameof(Refused))]
    public void Input_that_is_not_UTF_8_is_refused_by_name(byte[] input, string message) =>
        Assert.That(SampleProcess.Run("Console", "semantic-grep", input, "a"), Is.EqualTo((2, string.Empty, $"semantic-grep: {message}\n")));

    [Test]
    public void A_query_with_too_many_tokens_is_refused()
    {
        (int code, string output, string error) = SampleProcess.Run("Console", "semantic-grep", Text, string.Concat(Enumerable.Repeat("river ", 600)));
        Assert.That((code, output), Is.EqualTo((2, string.Empty)));
        Assert.That(error, Does.StartWith("semantic-grep: ").And.Contain("512"));
    }

    [TestCase]
    [TestCase(" ")]
    [TestCase("a", "0")]
    [TestCase("a", "x")]
    [TestCase("a", "1", "b")]
    public void Wrong_usage_is_reported(params string[] arguments)
    {
        (int code, _, string error) = SampleProcess.Run("Console", "semantic-grep", Text, arguments);
        Assert.That((code, error), Is.EqualTo((2, "usage: semantic-grep QUERY [COUNT] < FILE\n")));
    }
}
