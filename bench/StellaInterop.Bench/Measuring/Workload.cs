namespace StellaInterop.Bench.Measuring;

/// <summary>Texts to embed, and their tokens for the engines that take no texts.</summary>
/// <param name="Name">What it is called in tables and errors.</param>
/// <param name="Texts">The texts.</param>
/// <param name="Ids">The ids of each, special tokens and prompt included.</param>
/// <param name="Prompt">What stands before the texts.</param>
internal sealed record Workload(string Name, string[] Texts, int[][] Ids, StellaPrompt Prompt = default)
{
    public long Tokens => Ids.Sum(ids => (long)ids.Length);

    /// <summary>The workload of some of its texts.</summary>
    public Workload Select(IReadOnlyList<int> chosen) =>
        this with { Texts = [.. chosen.Select(i => Texts[i])], Ids = [.. chosen.Select(i => Ids[i])] };
}
