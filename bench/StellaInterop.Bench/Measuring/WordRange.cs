using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>The number of words of a text, from the fewest to the most.</summary>
internal readonly record struct WordRange(int Fewest, int Most)
{
    private const int Limit = 10_000;

    /// <summary>Parses a range such as <c>1..3</c>.</summary>
    /// <exception cref="FormatException">The text is no range. The message says what one is.</exception>
    public static WordRange Parse(string text) =>
        text.Split("..") is [var fewest, var most]
        && int.TryParse(fewest, NumberStyles.None, CultureInfo.InvariantCulture, out int from)
        && int.TryParse(most, NumberStyles.None, CultureInfo.InvariantCulture, out int to)
        && from >= 1 && from <= to && to <= Limit
            ? new WordRange(from, to)
            : throw new FormatException($"'{text}' is no range of words. Write FEWEST..MOST, such as 1..3, with at most {Limit} words.");

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Fewest}..{Most}");
}
