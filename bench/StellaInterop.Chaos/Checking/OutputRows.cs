using System.Text.Json;

namespace StellaInterop.Chaos.Checking;

/// <summary>Represents a row of a part: the bits of its vector and its counts.</summary>
internal sealed record OutputRow(string Id, long Tokens, bool Truncated, float[] Vector)
{
    /// <summary>Returns whether another row has the same bits.</summary>
    public bool HasBitsOf(OutputRow other) =>
        Tokens == other.Tokens && Truncated == other.Truncated
        && Vector.Select(BitConverter.SingleToInt32Bits).SequenceEqual(other.Vector.Select(BitConverter.SingleToInt32Bits));
}

/// <summary>Reads the rows of an output folder in JSON Lines.</summary>
internal static class OutputRows
{
    /// <summary>Reads the rows of a part.</summary>
    /// <exception cref="JsonException">A line is not JSON.</exception>
    /// <exception cref="FormatException">A row has no id.</exception>
    public static IEnumerable<OutputRow> Read(string file)
    {
        foreach (string line in File.ReadLines(file))
        {
            using var row = JsonDocument.Parse(line);
            JsonElement root = row.RootElement;
            yield return new OutputRow(
                IdOf(root),
                root.GetProperty("tokens").GetInt64(),
                root.GetProperty("truncated").GetBoolean(),
                [.. root.GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle())]);
        }
    }

    /// <summary>Reads the ids of a file of rows at fault.</summary>
    /// <exception cref="JsonException">A line is not JSON.</exception>
    /// <exception cref="FormatException">A row has no id.</exception>
    public static IEnumerable<string> ReadFaultIds(string file)
    {
        foreach (string line in File.ReadLines(file))
        {
            using var row = JsonDocument.Parse(line);
            yield return IdOf(row.RootElement);
        }
    }

    private static string IdOf(JsonElement row) => row.GetProperty("id").GetString() ?? throw new FormatException("An id is null.");
}
