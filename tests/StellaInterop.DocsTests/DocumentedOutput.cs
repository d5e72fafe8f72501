using System.Globalization;
using System.Text.RegularExpressions;

namespace StellaInterop.DocsTests;

/// <summary>Compares the output of a program with its documentation.</summary>
internal static partial class DocumentedOutput
{
    /// <summary>The allowed difference of two numbers, because processors compute in different precisions.</summary>
    private const double Tolerance = 0.003;

    /// <summary>Asserts that two texts are equal, except that numbers with a decimal point may differ slightly.</summary>
    public static void AssertMatches(string actual, string documented, string location)
    {
        (string text, double[] numbers) = Split(actual);
        (string expectedText, double[] expected) = Split(documented);
        Assert.That(text, Is.EqualTo(expectedText), $"{location} printed:\n{actual}");
        Assert.That(numbers, Is.EqualTo(expected).Within(Tolerance), $"{location} printed:\n{actual}");
    }

    private static (string Text, double[] Numbers) Split(string text)
    {
        string trimmed = string.Join('\n', text.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())).Trim();
        return (Number().Replace(trimmed, "N"), [.. Number().Matches(trimmed).Select(match => double.Parse(match.Value, CultureInfo.InvariantCulture))]);
    }

    [GeneratedRegex(@"-?\b\d+\.\d+")]
    private static partial Regex Number();
}
