using System.Globalization;

namespace StellaInterop.Bench.Measuring;

/// <summary>The texts of one call, by their number and lengths.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="Lengths">Tokens of each text, special tokens included.</param>
internal sealed record Shape(string Name, IReadOnlyList<int> Lengths)
{
    /// <summary>Name of the shape with texts of many lengths.</summary>
    public const string Mixed = "mixed";

    public const string Default = "1x8,1x32,1x128,1x512,8x128,32x32,mixed";

    /// <summary>Tokens of the shortest text: [CLS], a word, [SEP].</summary>
    private const int Shortest = 3;

    /// <summary>Tokens of the longest text: the training length of Stella, and the limit of the ONNX graphs.</summary>
    private const int Longest = 512;

    private const int MaxTexts = 4096;

    private const int MixedTexts = 256;
    private const double MixedMedian = 40;
    private const double MixedTail = 350;

    /// <summary>The 95th percentile of a normal distribution, in standard deviations.</summary>
    private const double Quantile95 = 1.6448536269514722;

    public long Tokens { get; } = Lengths.Sum(length => (long)length);

    public bool IsUniform => Lengths.All(length => length == Lengths[0]);

    /// <summary>Parses a comma-separated list of shapes, such as <c>1x8,mixed</c>.</summary>
    /// <exception cref="FormatException">A shape is invalid. The message describes the format.</exception>
    public static IReadOnlyList<Shape> ParseList(string list) =>
        [.. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(Parse)];

    /// <summary>Draws lengths from a log-normal distribution: half of them are below 40 tokens, 95 % below 350, none above 512.</summary>
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
            && TryRead(texts, 1, MaxTexts, out int textCount) && TryRead(tokens, Shortest, Longest, out int tokenCount)
            ? new Shape(name, [.. Enumerable.Repeat(tokenCount, textCount)])
            : throw new FormatException(
                $"Invalid shape '{name}'. Use {Mixed} or TEXTSxTOKENS, such as 8x128, with 1 to {MaxTexts} texts of {Shortest} to {Longest} tokens.");
    }

    private static bool TryRead(string number, int min, int max, out int value) =>
        int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= min && value <= max;
}
