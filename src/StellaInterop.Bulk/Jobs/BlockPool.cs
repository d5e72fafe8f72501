namespace StellaInterop.Bulk.Jobs;

/// <summary>Keeps arrays for vectors. The pools of .NET round lengths up to powers of two, which doubles the memory of a job.</summary>
internal sealed class BlockPool
{
    private readonly Lock gate = new();
    private readonly List<float[]> free = [];

    /// <summary>Returns an array of at least a length, with any content.</summary>
    public float[] Rent(long length)
    {
        lock (gate)
        {
            int index = free.FindIndex(array => array.Length >= length);
            if (index >= 0)
            {
                float[] found = free[index];
                free.RemoveAt(index);
                return found;
            }

            // All are too short, so one of them is replaced.
            if (free.Count > 0)
            {
                free.RemoveAt(0);
            }
        }

        return GC.AllocateUninitializedArray<float>(checked((int)length));
    }

    public void Return(float[] array)
    {
        lock (gate)
        {
            free.Add(array);
        }
    }
}
