using System.Text.Json;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Measuring;

/// <summary>Makes texts with an exact number of tokens, from words of one token each.</summary>
internal sealed class WordTexts
{
    private const int Words = 1000;
    private const int ShortestWord = 4;

    private readonly StellaModel model;
    private readonly string[] words;
    private readonly int specialTokens;
    private readonly RandomNumbers random = new(seed: 400);

    /// <param name="model">The model whose tokenizer counts the tokens.</param>
    /// <param name="folder">The folder of the model.</param>
    public WordTexts(StellaModel model, string folder)
    {
        this.model = model;
        specialTokens = model.Tokenize(string.Empty).TokenCount.Total;
        words = [.. Vocabulary(folder).Where(IsOneToken).Take(Words)];
        if (words.Length < Words)
        {
            throw new BenchException($"The tokenizer of {folder} has only {words.Length} words of one token; {Words} are needed.");
        }
    }

    public Workload Make(Shape shape)
    {
        string[] texts = [.. shape.Lengths.Select(length => string.Join(' ', Enumerable.Range(0, length - specialTokens).Select(_ => NextWord())))];
        int[][] ids = [.. model.Tokenize(texts).Select(tokens => tokens.Ids.ToArray())];
        return ids.Select(row => row.Length).SequenceEqual(shape.Lengths)
            ? new Workload(shape.Name, texts, ids)
            : throw new BenchException($"The generated texts of {shape.Name} do not have its lengths. Check the tokenizer of the model.");
    }

    private string NextWord() => words[random.NextBelow(words.Length)];

    /// <summary>Checks a word alone and after another word, because byte-level tokens include the space before them.</summary>
    private bool IsOneToken(string word) =>
        model.Tokenize(word).TokenCount.Total == specialTokens + 1 && model.Tokenize($"{word} {word}").TokenCount.Total == specialTokens + 2;

    /// <summary>Returns the lower-case words of the vocabulary by token id, so that common words come first.</summary>
    public static IReadOnlyList<string> Vocabulary(string folder)
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "tokenizer.json")));
        return
        [
            .. document.RootElement.GetProperty("model").GetProperty("vocab").EnumerateObject()
                .OrderBy(entry => entry.Value.GetInt32())
                .Select(entry => entry.Name)
                .Where(name => name.Length >= ShortestWord && name.All(char.IsAsciiLetterLower)),
        ];
    }
}
