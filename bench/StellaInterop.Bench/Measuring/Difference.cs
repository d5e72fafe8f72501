namespace StellaInterop.Bench.Measuring;

/// <summary>The distance between vectors and their reference.</summary>
/// <param name="Cosine">The smallest cosine.</param>
/// <param name="Largest">The largest absolute difference of two elements.</param>
internal readonly record struct Difference(double Cosine, double Largest)
{
    /// <summary>Gets the difference of equal vectors.</summary>
    public static Difference None { get; } = new(1, 0);

    public static Difference Between(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length)
        {
            throw new InvalidOperationException($"The vector has {actual.Length} elements, but the reference has {expected.Length}.");
        }

        double dot = 0, actualSquares = 0, expectedSquares = 0, largest = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double a = actual[i], b = expected[i];
            dot += a * b;
            actualSquares += a * a;
            expectedSquares += b * b;
            largest = Math.Max(largest, Math.Abs(a - b));
        }

        return new Difference(dot / Math.Sqrt(actualSquares * expectedSquares), largest);
    }

    /// <summary>Combines two differences: the smaller cosine and the larger element difference.</summary>
    public Difference WorseOf(Difference other) => new(Math.Min(Cosine, other.Cosine), Math.Max(Largest, other.Largest));
}
