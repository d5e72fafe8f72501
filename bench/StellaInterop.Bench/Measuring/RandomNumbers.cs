namespace StellaInterop.Bench.Measuring;

/// <summary>The generator splitmix64. It returns the same numbers on every machine and in every version of .NET.</summary>
internal sealed class RandomNumbers(ulong seed)
{
    private ulong state = seed;

    /// <summary>Returns a number in (0, 1].</summary>
    public double NextUnit() => ((Next() >> 11) + 1) * (1.0 / (1L << 53));

    /// <summary>Returns a number from 0 to <paramref name="bound"/> - 1.</summary>
    public int NextBelow(int bound) => (int)(Next() % (ulong)bound);

    /// <summary>Returns a number of the standard normal distribution (Box-Muller).</summary>
    public double NextNormal() => Math.Sqrt(-2 * Math.Log(NextUnit())) * Math.Cos(2 * Math.PI * NextUnit());

    private ulong Next()
    {
        unchecked
        {
            state += 0x9E3779B97F4A7C15;
            ulong z = state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
            return z ^ (z >> 31);
        }
    }
}
