namespace StellaInterop.Bench.Measuring;

/// <summary>Makes texts of random words, the same ones in every run. They are mostly different, as far as their length allows.</summary>
/// <param name="folder">The folder of the model, whose vocabulary has the words.</param>
/// <param name="words">The number of words of a text. Each number is as likely as any other.</param>
internal sealed class RandomTexts(string folder, WordRange words)
{
    private readonly IReadOnlyList<string> vocabulary = WordTexts.Vocabulary(folder);

    /// <summary>Returns the first texts of the sequence, one at a time.</summary>
    public IEnumerable<string> Take(int count)
    {
        var random = new RandomNumbers(seed: 26);
        for (int i = 0; i < count; i++)
        {
            var chosen = new string[words.Fewest + random.NextBelow(words.Most - words.Fewest + 1)];
            foreach (ref string word in chosen.AsSpan())
            {
                word = vocabulary[random.NextBelow(vocabulary.Count)];
            }

            yield return string.Join(' ', chosen);
        }
    }
}
