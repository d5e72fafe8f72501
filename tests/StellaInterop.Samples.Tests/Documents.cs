using System.Globalization;

namespace StellaInterop.Samples.Tests;

/// <summary>
/// Provides two thousand short documents. Each of the first twenty answers one question; the others are unrelated.
/// </summary>
internal static class Documents
{
    public const int Count = 2000;

    private static readonly string[] Cities =
    [
        "Aachen", "Bergen", "Coimbra", "Dresden", "Evora", "Fano", "Ghent", "Haarlem", "Imola", "Jena", "Kassel", "Lund", "Malmo", "Nantes",
        "Odense", "Parma", "Rennes", "Siena", "Tartu", "Utrecht", "Verona", "Worms", "York", "Zadar", "Arles", "Bath", "Celle", "Delft",
        "Espoo", "Faro", "Gera", "Huelva", "Ivrea",
    ];

    private static readonly string[] Reports =
    [
        "The city council of {0} met in {1} and voted on the new stadium.",
        "In {1} the art museum of {0} showed paintings of the last century.",
        "Builders began to widen the main street of {0} in {1}.",
        "A choir from {0} won a prize at the festival in {1}.",
        "The library of {0} lent out more novels in {1} than in any month before.",
    ];

    /// <summary>Gets the questions. The document with the same index is the answer.</summary>
    public static IReadOnlyList<string> Questions { get; } = ReadLines("questions.txt");

    public static string Name(int number) => string.Create(CultureInfo.InvariantCulture, $"{number:0000}.txt");

    public static IEnumerable<(string Name, string Text)> All()
    {
        string[] answers = ReadLines("documents.txt");
        string[] months = CultureInfo.InvariantCulture.DateTimeFormat.MonthNames[..12];
        IEnumerable<string> others = Cities.SelectMany(city => months.SelectMany(month => Reports.Select(
            report => string.Format(CultureInfo.InvariantCulture, report, city, month))));
        return answers.Concat(others).Take(Count).Select((text, number) => (Name(number), text));
    }

    private static string[] ReadLines(string resource)
    {
        using var reader = new StreamReader(typeof(Documents).Assembly.GetManifestResourceStream(resource)!);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
