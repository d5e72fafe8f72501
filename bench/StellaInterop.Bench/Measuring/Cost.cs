namespace StellaInterop.Bench.Measuring;

/// <summary>The least work that embedding some texts takes in any engine.</summary>
/// <param name="Operations">Arithmetic operations; a multiplication and an addition count as two.</param>
/// <param name="Weights">Number of parameters in products. Each is read from memory at least once.</param>
internal sealed record Cost(double Operations, double Weights)
{
    /// <summary>
    /// Counts the work of some texts: every token times every parameter except the word embeddings, plus two products of attention
    /// for each pair of tokens in a text. Counts the head once per token instead of once per text; it has 1/400 of the parameters.
    /// </summary>
    public static Cost Of(StellaModelInfo info, IReadOnlyList<int> lengths)
    {
        double weights = info.ParameterCount - ((double)info.VocabularySize * info.HiddenSize);
        double tokens = lengths.Sum(length => (double)length);
        double pairs = lengths.Sum(length => (double)length * length);
        return new Cost((2 * weights * tokens) + (4 * pairs * info.HiddenSize * info.LayerCount), weights);
    }

    public double WeightBytes(StellaPrecision precision) => Weights * (precision switch
    {
        StellaPrecision.Float32 => 4,
        StellaPrecision.BFloat16 => 2,
        StellaPrecision.Int8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "Only Float32, BFloat16 and Int8 have a weight size."),
    });
}
