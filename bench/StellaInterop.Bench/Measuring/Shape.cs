using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>How many texts of how many tokens one call embeds.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Lengths">Tokens of each text, special tokens included.</param>
internal sealed record Shape(string Name, IReadOnlyList<int> Lengths)
{
    /// <summary>A shape of texts of many lengths.</summary>
    public const string Mixed = "mixed";

    public const string Default = "1x8,1x32,1x128,1x512,8x128,32x32,mixed";

    /// <summary>[CLS], a word, [SEP].</summary>
    private const int Shortest = 3;

    /// <summary>Stella was trained with it, and ONNX Runtime's graphs end there.</summary>
    private const int Longest = 512;

    private const int MostTexts = 4096;

    private const int MixedTexts = 256;
    private const double MixedMedian = 40;
    private const double MixedTail = 350;

    /// <summary>95 % of a normal distribution lie below so many standard deviations.</summary>
    private const double Quantile95 = 1.6448536269514722;

    public long Tokens { get; } = Lengths.Sum(length => (long)length);

    public bool IsUniform => Lengths.All(length => length == Lengths[0]);

    /// <summary>Reads shapes that are separated by commas, such as <c>1x8,mixed</c>.</summary>
    /// <exception cref="FormatException">One is no shape; the message says what is.</exception>
    public static IReadOnlyList<Shape> ParseList(string list) =>
        [.. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(Parse)];

    /// <summary>Lengths drawn log-normally: half of them below 40 tokens, 95 % below 350, none above 512.</summary>
    public static IReadOnlyList<int> DrawLengths(int count, ulong seed)
    {
        double sigma = Math.Log(MixedTail / MixedMedian) / Quantile95;
        var random = new RandomNumbers(seed);
        return
        [
            .. Enumerable.Range(0, count).Select(_ => Math.Clamp(
                (int)Math.Round(MixedMedian * Math.Exp(sigma * random.NextNormal())), Shortest, Longest)),
        ];
    }

    private static Shape Parse(string name)
    {
        if (name == Mixed)
        {
            return new Shape(name, DrawLengths(MixedTexts, seed: 5));
        }

        return name.Split('x') is [string texts, string tokens]
            && TryRead(texts, 1, MostTexts, out int textCount) && TryRead(tokens, Shortest, Longest, out int tokenCount)
            ? new Shape(name, [.. Enumerable.Repeat(tokenCount, textCount)])
            : throw new FormatException(
                $"'{name}' is no shape: write TEXTSxTOKENS, such as 8x128, with 1 to {MostTexts} texts of {Shortest} to {Longest} tokens, or {Mixed}.");
    }

    private static bool TryRead(string number, int least, int most, out int value) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= least && value <= most;
}
