using System.Text.RegularExpressions;

namespace StellaInterop.Tests;

/// <summary>The example of the README is code that compiles and runs: it stands in ReadmeExample.cs.</summary>
internal sealed class ReadmeTests
{
    [Test]
    public void The_readme_shows_the_code_that_is_compiled()
    {
        string readme = File.ReadAllText(Path.Combine(Tree.Root, "README.md"));
        string example = Regex.Match(readme, "## Use it from C#\n\n```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value;
        string compiled = File.ReadAllText(Path.Combine(Tree.Root, "tests/StellaInterop.Tests/ReadmeExample.cs"));
        string[] lines = Lines(example);
        Assert.That(example.TrimEnd().Split('\n'), Has.Length.EqualTo(10));
        Assert.That(string.Join('\n', Lines(compiled)), Does.Contain(string.Join('\n', lines.Where(line => !IsDirective(line)))));
        Assert.That(Lines(compiled), Is.SupersetOf(lines.Where(IsDirective)));
    }

    [Test]
    public void The_example_ranks_the_steps_above_the_bread()
    {
        (float steps, float bread) = ReadmeExample.Run();
        Assert.That(steps, Is.GreaterThan(bread + 0.2f));
    }

    private static bool IsDirective(string line) => Regex.IsMatch(line, @"^using [\w.]+;$");

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];
}
