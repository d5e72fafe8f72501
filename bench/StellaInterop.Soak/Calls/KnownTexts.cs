namespace StellaInterop.Soak.Calls;

/// <summary>Texts of many lengths with their vectors from the model alone. A pool must return the same bits.</summary>
internal sealed class KnownTexts
{
    private const int TextCount = 160;
    private const int SmallSetTexts = 16;
    private const int SmallSetWords = 4;
    private const int MaxWords = 600;

    /// <summary>Every text whose index is a multiple of this number is long.</summary>
    private const int LongTextInterval = 20;

    /// <summary>Gets the prompts of mixed traffic.</summary>
    public static StellaPrompt[] Prompts { get; } = [StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity];

    private readonly Dictionary<(int Text, StellaPrompt Prompt, int Dimension), float[]> vectors = [];

    /// <summary>Makes texts of many lengths and embeds them with every prompt and every head of a model.</summary>
    public KnownTexts(string folder, StellaModelOptions options)
        : this(folder, options, TextCount, MaxWords, Prompts)
    {
        ShortTexts = [.. Enumerable.Range(0, TextCount).Where(i => i % LongTextInterval != 0)];
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

    /// <summary>Makes a small set of short texts for the given prompts.</summary>
    public static KnownTexts CreateSmallSet(string folder, StellaModelOptions options, params StellaPrompt[] prompts) =>
        new(folder, options, SmallSetTexts, SmallSetWords, prompts);

    public string[] Texts { get; }

    /// <summary>Gets the indices of the texts with at most 40 words.</summary>
    public int[] ShortTexts { get; }

    public int DefaultDimension { get; }

    public int[] Dimensions { get; }

    public bool IsExpected(int text, StellaPrompt prompt, int dimension, ReadOnlySpan<float> vector) =>
        vector.SequenceEqual(vectors[(text, prompt, dimension)]);

    /// <summary>Makes a text of up to 40 words, or, for a long text, of up to 600 words.</summary>
    private static string Text(Random random, int number, int maxWords)
    {
        string[] words = ["river", "stone", "bridge", "password", "account", "bread", "walnut", "camera", "night", "seven", "of", "the"];
        int length = number % LongTextInterval == 0 ? random.Next(maxWords / 6, maxWords) : random.Next(1, Math.Min(40, maxWords));
        return $"{number}: " + string.Join(' ', Enumerable.Range(0, length).Select(_ => words[random.Next(words.Length)]));
    }
}
