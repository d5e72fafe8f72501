using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace StellaInterop.Samples.FolderSearch;

/// <summary>A passage that was found, and why: the sentence in it that is nearest to the query.</summary>
internal sealed record Answer(Passage Passage, double Score, string Sentence, float SentenceScore);

/// <summary>Asks a store.</summary>
internal sealed partial class FolderQuery(
    PassageCollection store,
    IEmbeddingGenerator<string, Embedding<float>> documents,
    IEmbeddingGenerator<string, Embedding<float>> queries)
{
    /// <summary>The passages nearest to a query, best first.</summary>
    public async Task<IReadOnlyList<Answer>> AskAsync(string query, int top, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<float> vector = await queries.GenerateVectorAsync(query, cancellationToken: cancellationToken);
        var answers = new List<Answer>();
        await foreach (VectorSearchResult<Passage> found in store.SearchAsync(vector, top, cancellationToken: cancellationToken))
        {
            string[] sentences = [.. Sentences(found.Record.Text)];
            GeneratedEmbeddings<Embedding<float>> meanings = await documents.GenerateAsync(sentences, cancellationToken: cancellationToken);
            (string sentence, float score) = sentences
                .Zip(meanings, (text, meaning) => (text, Similarity.Dot(vector.Span, meaning.Vector.Span)))
                .MaxBy(pair => pair.Item2);
            answers.Add(new Answer(found.Record, found.Score ?? 0, sentence, score));
        }

        return answers;
    }

    internal static IEnumerable<string> Sentences(string text) => SentenceEnd().Split(text)
        .Select(sentence => Spaces().Replace(sentence, " ").Trim())
        .Where(sentence => sentence.Length > 0)
        .DefaultIfEmpty(text);

    /// <summary>After a mark that ends a sentence, between paragraphs, and before rows of tables and lists.</summary>
    [GeneratedRegex(@"(?<=[.!?])\s+|\n\n|\n(?=[|*#-])")]
    private static partial Regex SentenceEnd();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
