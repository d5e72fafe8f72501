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
        (string text, string[] numbers) = Split(actual);
        (string expectedText, string[] expected) = Split(documented);
        Assert.That(text, Is.EqualTo(expectedText), $"{location} printed:\n{actual}");
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.That(Value(numbers[i]), Is.EqualTo(Value(expected[i])).Within(ToleranceOf(expected[i])), $"{location} printed:\n{actual}");
        }
    }

    /// <summary>Returns the allowed difference from a documented number. Close values may round to neighbouring last digits.</summary>
    private static double ToleranceOf(string number)
    {
        int digits = number.Length - number.IndexOf('.', StringComparison.Ordinal) - 1;
        return Math.Max(Tolerance, 1.001 * Math.Pow(10, -digits));
    }

    private static double Value(string number) => double.Parse(number, CultureInfo.InvariantCulture);

    private static (string Text, string[] Numbers) Split(string text)
    {
        string trimmed = string.Join('\n', text.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())).Trim();
        return (Number().Replace(trimmed, "N"), [.. Number().Matches(trimmed).Select(match => match.Value)]);
    }

    [GeneratedRegex(@"-?\b\d+\.\d+")]
    private static partial Regex Number();
}
