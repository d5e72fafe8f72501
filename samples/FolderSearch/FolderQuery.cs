using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using StellaInterop.Vectors;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>Represents a result: a passage, and the sentence in it that is closest to the query.</summary>
internal sealed record Answer(Passage Passage, double Score, string Sentence, float SentenceScore);

/// <summary>Searches a store.</summary>
internal sealed partial class FolderQuery(
    PassageCollection store,
    IEmbeddingGenerator<string, Embedding<float>> documents,
    IEmbeddingGenerator<string, Embedding<float>> queries)
{
    /// <summary>
    /// The number of additional passages to rank by their sentences. One sentence hardly changes the vector of its passage, so the
    /// best sentence may be in a passage that is not among the nearest.
    /// </summary>
    private const int MoreCandidates = 30;

    /// <summary>
    /// Returns the passages closest to a query, best first. Passages are ranked by the higher score of the passage and its best
    /// sentence.
    /// </summary>
    public async Task<IReadOnlyList<Answer>> SearchAsync(string query, int top, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<float> vector = await queries.GenerateVectorAsync(query, cancellationToken: cancellationToken);
        var answers = new List<Answer>();
        await foreach (VectorSearchResult<Passage> found in store.SearchAsync(vector, top + MoreCandidates, cancellationToken: cancellationToken))
        {
            string[] sentences = [.. SplitSentences(found.Record.Text)];
            GeneratedEmbeddings<Embedding<float>> embeddings = await documents.GenerateAsync(sentences, cancellationToken: cancellationToken);
            (string sentence, float score) = sentences
                .Zip(embeddings, (text, embedding) => (text, Similarity.Dot(vector.Span, embedding.Vector.Span)))
                .MaxBy(pair => pair.Item2);
            answers.Add(new Answer(found.Record, found.Score ?? 0, sentence, score));
        }

        return [.. answers.OrderByDescending(answer => Math.Max(answer.Score, answer.SentenceScore)).Take(top)];
    }

    internal static IEnumerable<string> SplitSentences(string text) => SentenceEnd().Split(text)
        .Select(sentence => Spaces().Replace(sentence, " ").Trim())
        .Where(sentence => sentence.Length > 0)
        .DefaultIfEmpty(text);

    /// <summary>Matches after the end of a sentence, between paragraphs, and before rows of tables and lists.</summary>
    [GeneratedRegex(@"(?<=[.!?])\s+|(?<=[。！？])|\n\r?\n|\n(?=[|*#-])")]
    private static partial Regex SentenceEnd();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
