namespace StellaInterop.Tests.Clients;

/// <summary>The tables of docs/clients.md.</summary>
internal static class ClientDocument
{
    private static readonly bool Writes = Environment.GetEnvironmentVariable("STELLA_WRITE_DOCS") is { Length: > 0 };

    private static readonly string FilePath = Path.Combine(SourceTree.Root, "docs/clients.md");

    /// <summary>Returns the first cell of the row of a client.</summary>
    public static string Head(ServerClient client) => $"| {client.Name} {client.Version}";

    public static IReadOnlyList<string> ReadRows(ClientTable table) => Table(File.ReadAllLines(FilePath), table)[2..];

    public static IReadOnlyList<string> ReadColumns(ClientTable table) => Table(File.ReadAllLines(FilePath), table)[0].Trim('|', ' ').Split(" | ");

    /// <summary>Compares the row of a client with its results, or writes it.</summary>
    public static void CompareOrWrite(ClientTable table, ServerClient client, IReadOnlyList<string> cells)
    {
        string[] lines = File.ReadAllLines(FilePath);
        string expected = $"{Head(client)} | {string.Join(" | ", cells)} |";
        string? written = Table(lines, table).SingleOrDefault(row => row.StartsWith($"| {client.Name} ", StringComparison.Ordinal));
        if (!Writes)
        {
            Assert.That(written, Is.EqualTo(expected), "docs/clients.md is out of date. Run: dotnet cake --target=Clients --write");
        }
        else if (written is not null)
        {
            int start = Start(lines, table);
            lines[Array.IndexOf(lines, written, start)] = expected;
            File.WriteAllText(FilePath, string.Join('\n', lines) + "\n");
        }
        else
        {
            int end = Start(lines, table) + Table(lines, table).Length;
            File.WriteAllText(FilePath, string.Join('\n', [.. lines[..end], expected, .. lines[end..]]) + "\n");
        }
    }

    private static string[] Table(string[] lines, ClientTable table) =>
        [.. lines[Start(lines, table)..].TakeWhile(line => line.StartsWith('|'))];

    private static int Start(string[] lines, ClientTable table) =>
        Array.FindIndex(lines, Array.IndexOf(lines, $"## {table}"), line => line.StartsWith('|'));
}
