namespace StellaInterop.Bench.Measuring;

/// <summary>How far vectors are from those that they should be.</summary>
/// <param name="Cosine">The smallest cosine.</param>
/// <param name="Largest">The largest absolute difference of two numbers.</param>
internal readonly record struct Difference(double Cosine, double Largest)
{
    /// <summary>No difference.</summary>
    public static Difference None { get; } = new(1, 0);

    public static Difference Between(ReadOnlySpan<float> found, ReadOnlySpan<float> wanted)
    {
        if (found.Length != wanted.Length)
        {
            throw new InvalidOperationException($"a vector has {found.Length} numbers and should have {wanted.Length}");
        }

        double dot = 0, foundSquares = 0, wantedSquares = 0, largest = 0;
        for (int i = 0; i < found.Length; i++)
        {
            double a = found[i], b = wanted[i];
            dot += a * b;
            foundSquares += a * a;
            wantedSquares += b * b;
            largest = Math.Max(largest, Math.Abs(a - b));
        }

        return new Difference(dot / Math.Sqrt(foundSquares * wantedSquares), largest);
    }

    /// <summary>The worse of two, each way.</summary>
    public Difference And(Difference other) => new(Math.Min(Cosine, other.Cosine), Math.Max(Largest, other.Largest));
}
