using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using StellaInterop.Vectors;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>A passage that was found, and why: the sentence in it that is nearest to the query.</summary>
internal sealed record Answer(Passage Passage, double Score, string Sentence, float SentenceScore);

/// <summary>Asks a store.</summary>
internal sealed partial class FolderQuery(
    PassageCollection store,
    IEmbeddingGenerator<string, Embedding<float>> documents,
    IEmbeddingGenerator<string, Embedding<float>> queries)
{
    /// <summary>
    /// Passages that are looked at beside those that are wanted. One sentence hardly moves the vector of its passage, so the sentences
    /// of these decide too.
    /// </summary>
    private const int MoreCandidates = 30;

    /// <summary>Returns the passages nearest to a query, best first: by their own score or by the one of a sentence in them.</summary>
    public async Task<IReadOnlyList<Answer>> AskAsync(string query, int top, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<float> vector = await queries.GenerateVectorAsync(query, cancellationToken: cancellationToken);
        var answers = new List<Answer>();
        await foreach (VectorSearchResult<Passage> found in store.SearchAsync(vector, top + MoreCandidates, cancellationToken: cancellationToken))
        {
            string[] sentences = [.. Sentences(found.Record.Text)];
            GeneratedEmbeddings<Embedding<float>> meanings = await documents.GenerateAsync(sentences, cancellationToken: cancellationToken);
            (string sentence, float score) = sentences
                .Zip(meanings, (text, meaning) => (text, Similarity.Dot(vector.Span, meaning.Vector.Span)))
                .MaxBy(pair => pair.Item2);
            answers.Add(new Answer(found.Record, found.Score ?? 0, sentence, score));
        }

        return [.. answers.OrderByDescending(answer => Math.Max(answer.Score, answer.SentenceScore)).Take(top)];
    }

    internal static IEnumerable<string> Sentences(string text) => SentenceEnd().Split(text)
        .Select(sentence => Spaces().Replace(sentence, " ").Trim())
        .Where(sentence => sentence.Length > 0)
        .DefaultIfEmpty(text);

    /// <summary>After a mark that ends a sentence, between paragraphs, and before rows of tables and lists.</summary>
    [GeneratedRegex(@"(?<=[.!?])\s+|(?<=[。！？])|\n\r?\n|\n(?=[|*#-])")]
    private static partial Regex SentenceEnd();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
