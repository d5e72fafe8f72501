using System.Numerics.Tensors;

namespace StellaInterop.Bench.Quality;

/// <summary>How well documents were ranked, over all questions.</summary>
/// <param name="Ndcg">Normalised discounted cumulative gain of the first ten: 1 where every right document is the first.</param>
/// <param name="Recall">The part of the questions whose right document is among the first ten.</param>
internal readonly record struct Ranking(double Ndcg, double Recall)
{
    private const int Depth = 10;

    /// <summary>Ranks rows of documents for rows of questions; the right document of a question has its index.</summary>
    public static Ranking Of(ReadOnlySpan<float> queries, ReadOnlySpan<float> documents, int dimension)
    {
        var ranks = new int[queries.Length / dimension];
        for (int query = 0; query < ranks.Length; query++)
        {
            ranks[query] = RankOf(query, queries.Slice(query * dimension, dimension), documents);
        }

        return Of(ranks);
    }

    /// <summary>The figures of ranks, which count from 1.</summary>
    public static Ranking Of(IReadOnlyCollection<int> ranks) => new(
        ranks.Average(rank => rank <= Depth ? 1 / Math.Log2(rank + 1) : 0),
        ranks.Average(rank => rank <= Depth ? 1.0 : 0));

    /// <summary>One more than the documents that are nearer than the right one.</summary>
    private static int RankOf(int right, ReadOnlySpan<float> query, ReadOnlySpan<float> documents)
    {
        int dimension = query.Length;
        float wanted = TensorPrimitives.Dot(query, documents.Slice(right * dimension, dimension));
        int rank = 1;
        for (int start = 0; start < documents.Length; start += dimension)
        {
            rank += TensorPrimitives.Dot(query, documents.Slice(start, dimension)) > wanted ? 1 : 0;
        }

        return rank;
    }
}
