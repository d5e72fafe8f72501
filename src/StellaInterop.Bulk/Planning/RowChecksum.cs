using System.IO.Hashing;
using System.Runtime.InteropServices;
using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Computes a checksum of a run of rows. The checksum of two runs in a row follows from theirs.</summary>
/// <remarks>The hash of each row is a digit of a number in base <see cref="Base"/>, modulo 2^64.</remarks>
internal static class RowChecksum
{
    /// <summary>An odd number, so that a product loses no bits.</summary>
    private const ulong Base = 0x9E3779B97F4A7C15;

    /// <summary>The seed of a row without an id, which differs from a row with an empty one.</summary>
    private const long NoId = 0x5DEECE66D;

    /// <summary>Returns the checksum of a run and the row after it.</summary>
    public static ulong Add(ulong checksum, int file, in InputRow row) => unchecked((checksum * Base) + HashOf(file, row));

    /// <summary>Returns the checksum of two runs, one after the other.</summary>
    public static ulong Join(ulong first, ulong second, long rowsOfSecond)
    {
        ulong power = 1;
        ulong square = Base;
        for (long rest = rowsOfSecond; rest > 0; rest >>= 1)
        {
            power = (rest & 1) != 0 ? unchecked(power * square) : power;
            square = unchecked(square * square);
        }

        return unchecked((first * power) + second);
    }

    private static ulong HashOf(int file, in InputRow row)
    {
        // The file and the number of the row count, because an id is made of them.
        long seed = unchecked((row.Number * 0x100000001B3) + file);
        seed = row.Id is null ? seed ^ NoId : (long)XxHash3.HashToUInt64(MemoryMarshal.AsBytes(row.Id.AsSpan()), seed);
        return row.Fault is { } fault
            ? XxHash3.HashToUInt64([(byte)fault.Kind], ~seed)
            : XxHash3.HashToUInt64(MemoryMarshal.AsBytes(row.Text.AsSpan()), seed);
    }
}
