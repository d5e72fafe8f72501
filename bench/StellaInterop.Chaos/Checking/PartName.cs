using System.Globalization;
using System.Text.RegularExpressions;

namespace StellaInterop.Chaos.Checking;

/// <summary>Represents the name of a part: <c>part-NNNNNNNN-HASH</c>, or <c>part-NNNNNNNN.K-HASH</c> for a part of a halved chunk.</summary>
/// <param name="Chunk">The index of the chunk.</param>
/// <param name="Halves">The path of halves, 0 or 1 each; empty for a whole chunk.</param>
/// <param name="PlanHash">The begin of the hash of the plan.</param>
internal sealed partial record PartName(int Chunk, string Halves, string PlanHash)
{
    /// <summary>Reads the name of a file of a part.</summary>
    /// <returns><see langword="null"/> if the file has another name.</returns>
    public static PartName? Parse(string file) => Pattern().Match(file) is { Success: true } match
        ? new PartName(int.Parse(match.Groups["chunk"].Value, CultureInfo.InvariantCulture), match.Groups["halves"].Value, match.Groups["hash"].Value)
        : null;

    /// <summary>Reads the name of the record of a part.</summary>
    public static PartName? ParseRecord(string file) => RecordPattern().Match(file) is { Success: true } match ? Parse(match.Groups["part"].Value + ".jsonl") : null;

    /// <summary>Returns whether parts cover their chunk once: no path begins another one, and the shares of all add up to the chunk.</summary>
    public static bool Cover(IReadOnlyCollection<string> halves) =>
        halves.Sum(path => Math.Pow(2, -path.Length)) == 1
        && !halves.Any(path => halves.Any(other => other.Length > path.Length && other.StartsWith(path, StringComparison.Ordinal)));

    [GeneratedRegex(@"^part-(?<chunk>\d{8})(\.(?<halves>[01]+))?-(?<hash>[0-9a-f]+)\.jsonl$")]
    private static partial Regex Pattern();

    [GeneratedRegex(@"^(?<part>part-.+)-[0-9a-f]{16}\.json$")]
    private static partial Regex RecordPattern();
}
