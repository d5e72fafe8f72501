using System.Runtime.InteropServices;
using StellaInterop.Memory;

namespace StellaInterop.Serving;

/// <summary>Memory of a caller for results, which threads of the pool write to without running the caller's code.</summary>
/// <remarks>
/// An array is written to directly. Memory of any other kind belongs to a <see cref="System.Buffers.MemoryManager{T}"/>, which
/// may throw, block or be gone. It is filled by <see cref="CopyOut"/> alone, on the caller's own path.
/// </remarks>
internal readonly struct CallerMemory<T>
{
    private readonly Memory<T> memory;
    private readonly ArraySegment<T> array;
    private readonly bool isCopy;

    /// <param name="memory">The caller's memory; empty if the caller wants no results of this kind.</param>
    public CallerMemory(Memory<T> memory)
    {
        this.memory = memory;
        isCopy = !MemoryMarshal.TryGetArray(memory, out array);
        if (isCopy)
        {
            array = GC.AllocateUninitializedArray<T>(memory.Length);
        }
    }

    /// <summary>Gets whether the caller wants no results of this kind.</summary>
    public bool IsEmpty => array.Count == 0;

    /// <summary>Gets the array that the pool writes to.</summary>
    public Span<T> Span => array;

    /// <summary>Copies the results into memory that is not an array. May run the caller's code.</summary>
    public void CopyOut()
    {
        if (isCopy)
        {
            array.AsSpan().CopyTo(memory.Span);
        }
    }
}
