namespace StellaInterop.Bench.Engines;

/// <summary>How to batch texts of different lengths for an engine that pads.</summary>
/// <param name="MaxTexts">Texts of a batch at most.</param>
/// <param name="MaxTokens">Tokens of a batch at most, padding included; a longer text is a batch of its own.</param>
internal sealed record PaddedBatches(int MaxTexts, int MaxTokens)
{
    /// <summary>What is tried where the best is wanted: one by one, by number of texts, by tokens.</summary>
    public static IReadOnlyList<PaddedBatches> Candidates { get; } =
    [
        new(1, int.MaxValue),
        new(4, int.MaxValue),
        new(16, int.MaxValue),
        new(int.MaxValue, 512),
        new(int.MaxValue, 2048),
    ];

    public static PaddedBatches Everything { get; } = new(int.MaxValue, int.MaxValue);

    /// <summary>Sorts texts by length and cuts the row into batches; the last of a batch is its longest.</summary>
    /// <returns>The indices of the texts of each batch.</returns>
    public IReadOnlyList<int[]> Plan(IReadOnlyList<int> lengths)
    {
        int[] sorted = [.. Enumerable.Range(0, lengths.Count).OrderBy(i => lengths[i])];
        var batches = new List<int[]>();
        for (int start = 0, end; start < sorted.Length; start = end)
        {
            for (end = start + 1; end < sorted.Length; end++)
            {
                int texts = end + 1 - start;
                if (texts > MaxTexts || (long)texts * lengths[sorted[end]] > MaxTokens)
                {
                    break;
                }
            }

            batches.Add(sorted[start..end]);
        }

        return batches;
    }

    public override string ToString() => this switch
    {
        { MaxTexts: 1 } => "one text a call",
        { MaxTokens: int.MaxValue, MaxTexts: int.MaxValue } => "one call",
        { MaxTokens: int.MaxValue } => $"sorted, {MaxTexts} texts a call",
        _ => $"sorted, {MaxTokens} tokens a call",
    };
}
