using StellaInterop.Bench.Measuring;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Outputs;

namespace StellaInterop.Bench.Files;

/// <summary>Rows of random vectors of about length 1, in row groups.</summary>
internal sealed class PartSample
{
    public PartSample(int rows, int dimension, StellaBulkVectorType type)
    {
        Schema = new PartSchema([dimension], type);
        var random = new RandomNumbers(seed: 1);
        float[] vectors = new float[rows * dimension];
        foreach (ref float x in vectors.AsSpan())
        {
            x = (float)(random.NextUnit() - 0.5) / MathF.Sqrt(dimension / 12f);
        }

        Repetitions = new int[Math.Min(rows, ParquetPartFormat.RowGroupRows) * dimension];
        for (int i = 0; i < Repetitions.Length; i++)
        {
            Repetitions[i] = i % dimension == 0 ? 0 : 1;
        }

        ShortRepetitions = Array.ConvertAll(Repetitions, level => (short)level);
        Groups =
        [
            .. Enumerable.Range(0, rows).Chunk(ParquetPartFormat.RowGroupRows).Select(group => new PartRows
            {
                Count = group.Length,
                Ids = [.. group.Select(row => $"texts.jsonl:{row}")],
                Tokens = group,
                Truncated = new bool[group.Length],
                Vectors = [vectors.AsMemory(group[0] * dimension, group.Length * dimension)],
            }),
        ];
    }

    public PartSchema Schema { get; }

    /// <summary>Gets the repetition levels of a row group: 0 at the first number of each vector, 1 at the others.</summary>
    public int[] Repetitions { get; }

    /// <summary>Gets <see cref="Repetitions"/> as 16-bit numbers.</summary>
    public short[] ShortRepetitions { get; }

    public IReadOnlyList<PartRows> Groups { get; }

    public int RowCount => Groups.Sum(group => group.Count);

    public int Dimension => Schema.Dimensions[0];
}
