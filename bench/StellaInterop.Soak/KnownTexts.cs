namespace StellaInterop.Soak;

/// <summary>Texts of many lengths, and their vectors as the model alone gives them: what a pool returns is held against these, bit by bit.</summary>
internal sealed class KnownTexts
{
    private const int Count = 160;

    private readonly Dictionary<(int Text, StellaPrompt Prompt, int Dimension), float[]> vectors = [];

    /// <param name="folder">The model.</param>
    /// <param name="options">How it is loaded.</param>
    public KnownTexts(string folder, StellaModelOptions options)
    {
        var random = new Random(7);
        Texts = [.. Enumerable.Range(0, Count).Select(i => Text(random, i))];
        using StellaModel model = StellaModel.Load(folder, options);
        DefaultDimension = model.Info.DefaultDimension;
        Dimensions = [.. model.Info.Dimensions];
        foreach (StellaPrompt prompt in Enum.GetValues<StellaPrompt>())
        {
            foreach (int dimension in Dimensions)
            {
                float[] rows = new float[Count * dimension];
                model.Embed(Texts, rows, new StellaEmbedOptions { Prompt = prompt, Dimension = dimension });
                for (int i = 0; i < Count; i++)
                {
                    vectors.Add((i, prompt, dimension), rows.AsSpan(i * dimension, dimension).ToArray());
                }
            }
        }
    }

    public string[] Texts { get; }

    public int DefaultDimension { get; }

    public int[] Dimensions { get; }

    public bool IsRight(int text, StellaPrompt prompt, int dimension, ReadOnlySpan<float> vector) =>
        vector.SequenceEqual(vectors[(text, prompt, dimension)]);

    /// <summary>Most are short, some have hundreds of words.</summary>
    private static string Text(Random random, int number)
    {
        string[] words = ["river", "stone", "bridge", "password", "account", "bread", "walnut", "camera", "night", "seven", "of", "the"];
        int length = number % 20 == 0 ? random.Next(100, 600) : random.Next(1, 40);
        return $"{number}: " + string.Join(' ', Enumerable.Range(0, length).Select(_ => words[random.Next(words.Length)]));
    }
}
