using System.Globalization;
using StellaInterop;

/// <summary>Ranks three texts by their similarity to a question, best first.</summary>
public static class Ranking
{
    /// <summary>Gets the question, followed by the texts.</summary>
    public static string[] All { get; } =
    [
        "How do I reset my password?",
        "Banana bread with walnuts",
        "Where to change the settings of a phone",
        "Steps to recover access to your account",
    ];

    /// <summary>Gets the options for the question and the texts.</summary>
    public static StellaEmbedOptions Options { get; } = new() { Prompt = StellaPrompt.SentenceSimilarity };

    /// <summary>Returns the length of the question's vector, then one line for each text.</summary>
    public static string[] Of(StellaModel model)
    {
        float[] rows = new float[All.Length * model.Info.DefaultDimension];
        model.Embed(All, rows, Options);
        return Of(rows);
    }

    /// <summary>Returns the same lines for given vectors: the vector of the question, then the vectors of the texts.</summary>
    public static string[] Of(float[] rows)
    {
        int dimension = rows.Length / All.Length;
        ReadOnlySpan<float> question = rows.AsSpan(0, dimension);
        var scores = new double[All.Length];
        for (int i = 0; i < All.Length; i++)
        {
            scores[i] = Dot(question, rows.AsSpan(i * dimension, dimension));
        }

        var ranked = All.Zip(scores, (text, score) => (Text: text, Score: score)).Skip(1)
            .OrderByDescending(row => row.Score)
            .Select(row => string.Create(CultureInfo.InvariantCulture, $"{row.Score:F4} {row.Text}"));
        return [Math.Sqrt(scores[0]).ToString("F6", CultureInfo.InvariantCulture), .. ranked];
    }

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
