namespace StellaInterop.Bench.Measuring;

/// <summary>How far the vectors of a precision may be from the float64 reference.</summary>
/// <param name="Cosine">The cosine must be above it.</param>
/// <param name="Largest">Every absolute difference of raw numbers must be below it.</param>
internal sealed record Tolerance(double Cosine, double Largest)
{
    /// <summary>The limit of a precision.</summary>
    /// <param name="precision">The precision.</param>
    /// <param name="randomWeights">
    /// Whether the weights are random: 24 layers of them are harder on lower precisions than trained ones. With only the
    /// matrices rounded to bf16 and all arithmetic in f32 the synthetic model keeps a cosine of 0.99894.
    /// </param>
    public static Tolerance Of(StellaPrecision precision, bool randomWeights) => precision switch
    {
        StellaPrecision.Float32 => new(0.999999, 1e-4),
        StellaPrecision.BFloat16 => new(randomWeights ? 0.998 : 0.999, double.PositiveInfinity),
        StellaPrecision.Int8 => new(randomWeights ? 0.98 : 0.99, double.PositiveInfinity),
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "it is not a precision that is computed in"),
    };

    /// <summary>Whether vectors are near enough. A difference that is no number is not.</summary>
    public bool Holds(Difference difference) => difference.Cosine > Cosine && difference.Largest < Largest;

    public override string ToString() => double.IsFinite(Largest) ? $"cosine > {Cosine}, difference < {Largest}" : $"cosine > {Cosine}";
}
