using System.Globalization;
using System.Text.RegularExpressions;

namespace StellaInterop.DocsTests;

/// <summary>Compares what was printed with what a document says.</summary>
internal static partial class Printed
{
    /// <summary>How far numbers may be apart: processors multiply in different precisions.</summary>
    private const double Tolerance = 0.003;

    /// <summary>Fails unless texts are equal, and the numbers with a point in them nearly so.</summary>
    public static void IsAsSaid(string printed, string said, string where)
    {
        (string text, double[] numbers) = Split(printed);
        (string wantedText, double[] wanted) = Split(said);
        Assert.That(text, Is.EqualTo(wantedText), $"{where} printed:\n{printed}");
        Assert.That(numbers, Is.EqualTo(wanted).Within(Tolerance), $"{where} printed:\n{printed}");
    }

    private static (string Text, double[] Numbers) Split(string text)
    {
        string trimmed = string.Join('\n', text.ReplaceLineEndings("\n").Split('\n').Select(line => line.TrimEnd())).Trim();
        return (Number().Replace(trimmed, "N"), [.. Number().Matches(trimmed).Select(match => double.Parse(match.Value, CultureInfo.InvariantCulture))]);
    }

    [GeneratedRegex(@"-?\b\d+\.\d+")]
    private static partial Regex Number();
}
