using System.Text.RegularExpressions;

namespace StellaInterop.Tests;

/// <summary>A C# block of the README, which stands word for word in a file that is compiled and run.</summary>
internal static class ReadmeBlock
{
    /// <summary>Fails unless the block after a heading stands in a file of the tree.</summary>
    public static void IsCompiled(string heading, string file)
    {
        string readme = File.ReadAllText(Path.Combine(Tree.Root, "README.md"));
        string section = readme[readme.IndexOf($"## {heading}\n", StringComparison.Ordinal)..];
        string[] block = Lines(Regex.Match(section, "```csharp\n(.*?)```", RegexOptions.Singleline).Groups[1].Value);
        string[] compiled = Lines(File.ReadAllText(Path.Combine(Tree.Root, file)));
        Assert.That(block, Has.Length.GreaterThan(5), heading);
        Assert.That(
            string.Join('\n', compiled), Does.Contain(string.Join('\n', block.Where(line => !IsDirective(line)))), heading);
        Assert.That(compiled, Is.SupersetOf(block.Where(IsDirective)), heading);
    }

    private static bool IsDirective(string line) => Regex.IsMatch(line, @"^using [\w.]+;$");

    private static string[] Lines(string text) => [.. text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0)];
}
