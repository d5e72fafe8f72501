namespace StellaInterop.Soak;

/// <summary>Texts of many lengths, and their vectors from the model alone: a pool must return the same bits.</summary>
internal sealed class KnownTexts
{
    private const int TextCount = 160;
    private const int FewTexts = 16;
    private const int FewWords = 4;
    private const int MaxWords = 600;

    /// <summary>Every text with such a number is long.</summary>
    private const int LongEvery = 20;

    /// <summary>The prompts of the mixed traffic.</summary>
    public static StellaPrompt[] Prompts { get; } = [StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity];

    private readonly Dictionary<(int Text, StellaPrompt Prompt, int Dimension), float[]> vectors = [];

    /// <summary>Makes texts of many lengths, for every prompt and every head of a model.</summary>
    public KnownTexts(string folder, StellaModelOptions options)
        : this(folder, options, TextCount, MaxWords, Prompts)
    {
        ShortTexts = [.. Enumerable.Range(0, TextCount).Where(i => i % LongEvery != 0)];
    }

    private KnownTexts(string folder, StellaModelOptions options, int count, int maxWords, StellaPrompt[] prompts)
    {
        var random = new Random(7);
        Texts = [.. Enumerable.Range(0, count).Select(i => Text(random, i, maxWords))];
        ShortTexts = [.. Enumerable.Range(0, count)];
        using StellaModel model = StellaModel.Load(folder, options);
        DefaultDimension = model.Info.DefaultDimension;
        Dimensions = [.. model.Info.Dimensions];
        foreach (StellaPrompt prompt in prompts)
        {
            foreach (int dimension in Dimensions)
            {
                float[] rows = new float[count * dimension];
                model.Embed(Texts, rows, new StellaEmbedOptions { Prompt = prompt, Dimension = dimension });
                for (int i = 0; i < count; i++)
                {
                    vectors.Add((i, prompt, dimension), rows.AsSpan(i * dimension, dimension).ToArray());
                }
            }
        }
    }

    /// <summary>Makes a few texts of some words, for some prompts.</summary>
    public static KnownTexts Few(string folder, StellaModelOptions options, params StellaPrompt[] prompts) =>
        new(folder, options, FewTexts, FewWords, prompts);

    public string[] Texts { get; }

    /// <summary>Indices of the texts that have at most 40 words.</summary>
    public int[] ShortTexts { get; }

    public int DefaultDimension { get; }

    public int[] Dimensions { get; }

    public bool IsExpected(int text, StellaPrompt prompt, int dimension, ReadOnlySpan<float> vector) =>
        vector.SequenceEqual(vectors[(text, prompt, dimension)]);

    /// <summary>Makes a text of up to 40 words, or of up to 600 now and then.</summary>
    private static string Text(Random random, int number, int maxWords)
    {
        string[] words = ["river", "stone", "bridge", "password", "account", "bread", "walnut", "camera", "night", "seven", "of", "the"];
        int length = number % LongEvery == 0 ? random.Next(maxWords / 6, maxWords) : random.Next(1, Math.Min(40, maxWords));
        return $"{number}: " + string.Join(' ', Enumerable.Range(0, length).Select(_ => words[random.Next(words.Length)]));
    }
}
