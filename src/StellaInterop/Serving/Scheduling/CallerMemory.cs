using System.Runtime.InteropServices;
using StellaInterop.Memory;

namespace StellaInterop.Serving;

/// <summary>Memory that a caller passed for results, so that threads of the pool can write without running the caller's code.</summary>
/// <remarks>
/// An array is written to directly. Memory of any other kind belongs to a <see cref="System.Buffers.MemoryManager{T}"/>, which
/// may throw, block or be gone. It is filled by <see cref="CopyOut"/> alone, on the caller's own path.
/// </remarks>
internal readonly struct CallerMemory<T>
{
    private readonly Memory<T> memory;
    private readonly ArraySegment<T> array;
    private readonly bool isCopy;

    /// <param name="memory">The caller's memory, or nothing.</param>
    public CallerMemory(Memory<T> memory)
    {
        this.memory = memory;
        isCopy = !MemoryMarshal.TryGetArray(memory, out array);
        if (isCopy)
        {
            array = GC.AllocateUninitializedArray<T>(memory.Length);
        }
    }

    /// <summary>Whether the caller wants no results here.</summary>
    public bool IsEmpty => array.Count == 0;

    /// <summary>Gets the array that the pool writes to.</summary>
    public Span<T> Span => array;

    /// <summary>Puts the results into memory that is not an array. May run the caller's code.</summary>
    public void CopyOut()
    {
        if (isCopy)
        {
            array.AsSpan().CopyTo(memory.Span);
        }
    }
}
