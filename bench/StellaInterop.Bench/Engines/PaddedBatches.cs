namespace StellaInterop.Bench.Engines;

/// <summary>A way to batch texts of different lengths for an engine that pads them.</summary>
/// <param name="MaxTexts">Maximum number of texts in a batch.</param>
/// <param name="MaxTokens">Maximum number of tokens in a batch, padding included. A longer text is a batch by itself.</param>
internal sealed record PaddedBatches(int MaxTexts, int MaxTokens)
{
    /// <summary>Gets the batch limits that are tried: one text, some texts, some tokens.</summary>
    public static IReadOnlyList<PaddedBatches> Candidates { get; } =
    [
        new(1, int.MaxValue),
        new(4, int.MaxValue),
        new(16, int.MaxValue),
        new(int.MaxValue, 512),
        new(int.MaxValue, 2048),
    ];

    public static PaddedBatches Everything { get; } = new(int.MaxValue, int.MaxValue);

    /// <summary>Sorts texts by length and splits them into batches. The last text of a batch is the longest.</summary>
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
