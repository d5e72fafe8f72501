namespace StellaInterop.Tests.Clients;

/// <summary>Specifies the table of the document that has a column for a case.</summary>
internal enum ClientTable
{
    Vectors,
    Refusals,
}

/// <summary>Represents a request that every client makes.</summary>
/// <param name="Table">The table of the document.</param>
/// <param name="Name">The head of the column.</param>
/// <param name="Texts">The texts.</param>
internal sealed record ClientCase(ClientTable Table, string Name, params IReadOnlyList<string> Texts)
{
    public const string WrongModel = "unknown model";

    /// <summary>The dimension of a head of stella-mini that is not its default.</summary>
    public const int OtherDimension = 256;

    private const string LineBreak = "a line\nand another";

    /// <summary>A text with more tokens than stella-mini takes.</summary>
    public static string LongText { get; } = string.Join(' ', Enumerable.Repeat("a", 600));

    private static readonly string[] Texts3000 = [.. Enumerable.Range(0, 3000).Select(i => $"Text {i}: \"{i * 7 % 100} café\" \\ 雪 {(char)('a' + (i % 26))}")];

    public static IReadOnlyList<ClientCase> All { get; } =
    [
        new(ClientTable.Vectors, "one text", "A text in \"quotes\", with é and 🙂.") { IsSingle = true },
        new(ClientTable.Vectors, "10 texts", Texts3000[..10]),
        new(ClientTable.Vectors, "3,000 texts", Texts3000),
        new(ClientTable.Vectors, "another dimension", "A text.") { IsSingle = true, Dimension = OtherDimension },
        new(ClientTable.Vectors, "line break", LineBreak) { IsSingle = true },
        new(ClientTable.Vectors, "empty text", "") { IsSingle = true },
        new(ClientTable.Vectors, "no text"),
        new(ClientTable.Vectors, "too long", LongText) { IsSingle = true },
        new(ClientTable.Refusals, WrongModel, "A text.") { IsSingle = true, Model = "no-such-model" },
        new(ClientTable.Refusals, "dimension without a head", "A text.") { IsSingle = true, Dimension = 300 },
        new(ClientTable.Refusals, "wrong key", "A text.") { IsSingle = true, HasWrongKey = true },
        new(ClientTable.Refusals, "full queue", "A text.") { IsSingle = true, HasFullQueue = true },
    ];

    public bool IsSingle { get; init; }

    public int? Dimension { get; init; }

    public string Model { get; init; } = ClientServer.Model;

    public bool HasWrongKey { get; init; }

    public bool HasFullQueue { get; init; }

    /// <summary>Gets whether the text has more tokens than the model takes.</summary>
    public bool IsTooLong => Texts is [var text] && text == LongText;

    /// <summary>Returns a text as some clients send it.</summary>
    public static string WithoutLineBreaks(string text) => text.Replace('\n', ' ');
}
