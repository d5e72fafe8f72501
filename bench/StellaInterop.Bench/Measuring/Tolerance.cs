namespace StellaInterop.Bench.Measuring;

/// <summary>The allowed distance between vectors of a precision and the float64 reference.</summary>
/// <param name="Cosine">Exclusive lower limit of the cosine.</param>
/// <param name="Largest">Exclusive upper limit of every absolute element difference.</param>
internal sealed record Tolerance(double Cosine, double Largest)
{
    /// <summary>Returns the tolerance of a precision.</summary>
    /// <param name="precision">The precision.</param>
    /// <param name="randomWeights">
    /// Whether the weights are random. Lower precisions lose more on 24 layers of random weights than on trained ones. With only
    /// the matrices rounded to bf16, and all arithmetic in f32, the synthetic model has a cosine of 0.99894.
    /// </param>
    public static Tolerance Of(StellaPrecision precision, bool randomWeights) => precision switch
    {
        StellaPrecision.Float32 => new(0.999999, 1e-4),
        StellaPrecision.BFloat16 => new(randomWeights ? 0.998 : 0.999, double.PositiveInfinity),
        StellaPrecision.Int8 => new(randomWeights ? 0.98 : 0.99, double.PositiveInfinity),
        _ => throw new ArgumentOutOfRangeException(nameof(precision), precision, "Only Float32, BFloat16 and Int8 have a tolerance."),
    };

    /// <summary>Returns whether a difference is within the tolerance. NaN is not.</summary>
    public bool Accepts(Difference difference) => difference.Cosine > Cosine && difference.Largest < Largest;

    public override string ToString() => double.IsFinite(Largest) ? $"cosine > {Cosine}, difference < {Largest}" : $"cosine > {Cosine}";
}
