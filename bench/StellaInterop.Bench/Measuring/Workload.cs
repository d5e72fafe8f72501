namespace StellaInterop.Bench.Measuring;

/// <summary>Texts to embed, and their token ids for engines without a tokenizer.</summary>
/// <param name="Name">Name in tables and errors.</param>
/// <param name="Texts">The texts.</param>
/// <param name="Ids">The token ids of each text, with special tokens and prompt.</param>
/// <param name="Prompt">The prompt of the texts.</param>
internal sealed record Workload(string Name, string[] Texts, int[][] Ids, StellaPrompt Prompt = default)
{
    public long Tokens => Ids.Sum(ids => (long)ids.Length);

    /// <summary>Returns a workload with some of the texts.</summary>
    public Workload Select(IReadOnlyList<int> chosen) =>
        this with { Texts = [.. chosen.Select(i => Texts[i])], Ids = [.. chosen.Select(i => Ids[i])] };
}
