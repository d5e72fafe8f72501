using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Sources;

namespace StellaInterop.Bench.Tests;

public class QualityTests
{
    [Test]
    public void Gain_falls_with_the_logarithm_of_the_rank_and_is_zero_after_rank_ten()
    {
        Ranking ranking = Ranking.Of([1, 3, 10, 11]);
        Assert.That(ranking.Ndcg, Is.EqualTo((1 + 0.5 + (1 / Math.Log2(11)) + 0) / 4).Within(1e-12));
        Assert.That(ranking.Recall, Is.EqualTo(0.75));
    }

    [Test]
    public void The_rank_counts_documents_with_a_higher_score()
    {
        float[] documents = [1, 0, 0.9f, 0.1f, 0, 1];
        // The ranks are 1 for the first query, 2 for the second and 3 for the third.
        float[] queries = [1, 0, 1, 0, 1, 0];
        Ranking ranking = Ranking.Of(queries, documents, 2);
        Assert.That(ranking.Ndcg, Is.EqualTo((1 + (1 / Math.Log2(3)) + 0.5) / 3).Within(1e-6));
    }

    [Test]
    public void Names_and_comments_in_CSharp_and_Rust_become_pairs()
    {
        string[] lines =
        [
            "/// <summary>How many <see cref=\"Some.Token\"/>s a <c>text</c>",
            "/// may have.</summary>",
            "/// <param name=\"x\">Not this.</param>",
            "[Attribute]",
            "public int MaxTokens { get; init; }",
            "",
            "/// Reads the `header` of one file.",
            "#[inline]",
            "pub(crate) fn read_header(path: &Path) -> Header {",
            "/// Too short.",
            "fn no_pair()",
            "/// Closes what was opened before it.",
            "fn close()",
            "/// Tokens of one native call, no more.",
            "internal const int BatchTokens = 16384;",
            "/// The length of the longest text.",
            "public readonly record struct LongestText(int Tokens)",
        ];
        Assert.That(RetrievalSet.Parse("some_file", lines), Is.EqualTo(new[]
        {
            new Pair("max tokens", "How many Tokens a text may have."),
            new Pair("read header", "Reads the header of one file."),
            new Pair("some file close", "Closes what was opened before it."),
            new Pair("batch tokens", "Tokens of one native call, no more."),
            new Pair("longest text", "The length of the longest text."),
        }));
    }

    [Test]
    public void The_set_of_this_tree_has_over_300_pairs_with_unique_queries_and_documents()
    {
        IReadOnlyList<Pair> pairs = RetrievalSet.Read(SourceTree.Root);
        Assert.That(pairs, Has.Count.GreaterThan(300));
        Assert.That(pairs.Select(pair => pair.Query), Is.Unique);
        Assert.That(pairs.Select(pair => pair.Document), Is.Unique);
        Assert.That(pairs.Select(pair => pair.Document), Has.None.Contains("<"));
    }
}
