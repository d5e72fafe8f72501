namespace StellaInterop.Bulk.Jobs;

/// <summary>Keeps arrays for vectors.</summary>
/// <remarks>
/// The pools of .NET round lengths up to powers of two, which doubles the memory of a job. Here all arrays of a dimension have the length of a
/// whole block, so each fits every block, and none is replaced by a longer one.
/// </remarks>
/// <param name="rows">The largest number of rows of a block.</param>
internal sealed class BlockPool(int rows)
{
    private readonly Lock gate = new();
    private readonly List<float[]> free = [];

    /// <summary>Returns an array for the vectors of a block, with any content.</summary>
    public float[] Rent(int dimension)
    {
        int length = checked(rows * dimension);
        lock (gate)
        {
            int index = free.FindIndex(array => array.Length == length);
            if (index >= 0)
            {
                float[] found = free[index];
                free.RemoveAt(index);
                return found;
            }
        }

        return GC.AllocateUninitializedArray<float>(length);
    }

    public void Return(float[] array)
    {
        lock (gate)
        {
            free.Add(array);
        }
    }
}
