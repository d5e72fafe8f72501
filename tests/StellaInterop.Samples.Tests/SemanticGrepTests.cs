namespace StellaInterop.Samples.Tests;

/// <summary>The console program.</summary>
internal sealed class SemanticGrepTests
{
    private const string Text = "Banana bread with walnuts\n\nSteps to recover access to your account\nThe new phone has a better camera\n";

    [Test]
    public void The_line_that_means_the_same_comes_first()
    {
        (int code, string output, _) = SampleProcess.Run("Console", "semantic-grep", Text, "How do I reset my password?", "2");
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That((code, lines.Length), Is.EqualTo((0, 2)));
        Assert.That(lines[0], Does.Match(@"^0\.\d{3}  Steps to recover access to your account$"));
    }

    [Test]
    public void Nothing_to_search_is_an_exit_code() =>
        Assert.That(SampleProcess.Run("Console", "semantic-grep", "\n", "anything").ExitCode, Is.EqualTo(1));

    [TestCase]
    [TestCase("a", "0")]
    [TestCase("a", "x")]
    [TestCase("a", "1", "b")]
    public void Wrong_usage_is_told(params string[] arguments)
    {
        (int code, _, string error) = SampleProcess.Run("Console", "semantic-grep", Text, arguments);
        Assert.That((code, error), Is.EqualTo((2, "usage: semantic-grep QUERY [COUNT] < FILE\n")));
    }
}
