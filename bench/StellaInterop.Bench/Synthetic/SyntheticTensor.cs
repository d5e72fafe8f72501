namespace StellaInterop.Bench.Synthetic;

/// <summary>A tensor of random numbers, uniformly distributed over <paramref name="Base"/> ± <paramref name="Amplitude"/>.</summary>
/// <param name="Index">Index of the tensor, which is the seed of its values.</param>
/// <param name="Name">Name in the file.</param>
/// <param name="Shape">Dimensions of the tensor.</param>
/// <param name="Base">Middle of the range of values.</param>
/// <param name="Amplitude">Half the width of that range.</param>
internal sealed record SyntheticTensor(int Index, string Name, int[] Shape, float Base, float Amplitude)
{
    /// <summary>The increment of splitmix64.</summary>
    private const ulong Step = 0x9E3779B97F4A7C15;

    /// <summary>2^23: half the range of 24 random bits.</summary>
    private const int Half = 1 << 23;

    public long Count { get; } = Shape.Aggregate(1L, (product, length) => product * length);

    /// <summary>Generates the values from element <paramref name="first"/> on. Other implementations of the same steps get the same bits.</summary>
    public void Fill(long first, Span<float> values)
    {
        unchecked
        {
            ulong state = (ulong)Index + ((ulong)first * Step);
            for (int i = 0; i < values.Length; i++)
            {
                state += Step;
                ulong z = state;
                z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
                z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
                z ^= z >> 31;
                float unit = ((int)(z >> 40) - Half) / (float)Half;
                values[i] = Base + (unit * Amplitude);
            }
        }
    }
}
