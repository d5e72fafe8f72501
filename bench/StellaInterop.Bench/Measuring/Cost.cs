namespace StellaInterop.Bench.Measuring;

/// <summary>What embedding some texts costs at least, whatever the engine.</summary>
/// <param name="Operations">Arithmetic operations; a multiplication and an addition count as two.</param>
/// <param name="Weights">Parameters that are multiplied; each is read at least once.</param>
internal sealed record Cost(double Operations, double Weights)
{
    /// <summary>
    /// Every token is multiplied with every parameter that is no embedding, and in attention with every token of its text,
    /// twice. That the head is multiplied once a text and not once a token is left out: it is a four-hundredth.
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
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "it is not a precision that is computed in"),
    });
}
