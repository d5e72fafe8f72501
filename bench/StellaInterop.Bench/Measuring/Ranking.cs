using System.Numerics.Tensors;

namespace StellaInterop.Bench.Measuring;

/// <summary>The quality of a ranking, averaged over all queries.</summary>
/// <param name="Ndcg">Normalized discounted cumulative gain at 10 (nDCG@10). It is 1 if the relevant document is first for every query.</param>
/// <param name="Recall">Share of the queries whose relevant document is among the first ten (recall@10).</param>
internal readonly record struct Ranking(double Ndcg, double Recall)
{
    private const int Depth = 10;

    /// <summary>Ranks documents for queries. The relevant document of a query has the same index.</summary>
    public static Ranking Of(ReadOnlySpan<float> queries, ReadOnlySpan<float> documents, int dimension)
    {
        var ranks = new int[queries.Length / dimension];
        for (int query = 0; query < ranks.Length; query++)
        {
            ranks[query] = RankOf(query, queries.Slice(query * dimension, dimension), documents);
        }

        return Of(ranks);
    }

    /// <summary>Computes the quality of ranks, which start at 1.</summary>
    public static Ranking Of(IReadOnlyCollection<int> ranks) => new(
        ranks.Average(rank => rank <= Depth ? 1 / Math.Log2(rank + 1) : 0),
        ranks.Average(rank => rank <= Depth ? 1.0 : 0));

    /// <summary>Returns the rank of the relevant document: 1 + the number of documents with a higher score.</summary>
    private static int RankOf(int relevant, ReadOnlySpan<float> query, ReadOnlySpan<float> documents)
    {
        int dimension = query.Length;
        float score = TensorPrimitives.Dot(query, documents.Slice(relevant * dimension, dimension));
        int rank = 1;
        for (int start = 0; start < documents.Length; start += dimension)
        {
            rank += TensorPrimitives.Dot(query, documents.Slice(start, dimension)) > score ? 1 : 0;
        }

        return rank;
    }
}
