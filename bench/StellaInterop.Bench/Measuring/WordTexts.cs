using System.Text.Json;

namespace StellaInterop.Bench.Measuring;

/// <summary>Makes texts of exactly the wanted number of tokens, out of words that are one token each.</summary>
internal sealed class WordTexts
{
    private const int Words = 1000;
    private const int ShortestWord = 4;

    private readonly StellaModel model;
    private readonly string[] words;
    private readonly int specialTokens;
    private readonly RandomNumbers random = new(seed: 400);

    /// <param name="model">Its tokenizer decides what a token is.</param>
    /// <param name="folder">The folder of the model.</param>
    public WordTexts(StellaModel model, string folder)
    {
        this.model = model;
        specialTokens = model.Tokenize(string.Empty).TokenCount.Total;
        words = [.. Candidates(folder).Where(IsOneToken).Take(Words)];
        if (words.Length < Words)
        {
            throw new BenchException($"the tokenizer of {folder} has only {words.Length} words of one token");
        }
    }

    public Workload Make(Shape shape)
    {
        string[] texts = [.. shape.Lengths.Select(length => string.Join(' ', Enumerable.Range(0, length - specialTokens).Select(_ => NextWord())))];
        int[][] ids = [.. model.Tokenize(texts).Select(tokens => tokens.Ids.ToArray())];
        return ids.Select(row => row.Length).SequenceEqual(shape.Lengths)
            ? new Workload(shape.Name, texts, ids)
            : throw new BenchException($"the texts of {shape.Name} do not have the wanted lengths");
    }

    private string NextWord() => words[random.NextBelow(words.Length)];

    /// <summary>Alone and after another word: byte-level tokens hold the space before them.</summary>
    private bool IsOneToken(string word) =>
        model.Tokenize(word).TokenCount.Total == specialTokens + 1 && model.Tokenize($"{word} {word}").TokenCount.Total == specialTokens + 2;

    /// <summary>The vocabulary's lower-case words, the common ones first.</summary>
    private static IEnumerable<string> Candidates(string folder)
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
