using System.Globalization;

namespace StellaInterop.Bulk.Planning;

/// <summary>Represents the rows that become one part: a chunk, a half of a chunk, a half of a half and so on.</summary>
/// <remarks>
/// Only a cluster halves a chunk, to find the row that ends processes. The first half of an odd number of rows has one row more, so that
/// every machine halves alike.
/// </remarks>
/// <param name="Chunk">The index of the chunk.</param>
/// <param name="Halves">The way to the half, a digit for each step: 0 for the first half, 1 for the second; empty for a whole chunk.</param>
internal readonly record struct PartId(int Chunk, string Halves) : IComparable<PartId>
{
    private const char Separator = '.';

    private const int ChunkDigits = 8;

    /// <summary>The id of a whole chunk.</summary>
    public PartId(int chunk)
        : this(chunk, "")
    {
    }

    /// <summary>Reads an id as <see cref="ToString"/> writes it.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out PartId id)
    {
        id = default;
        if (text.Length < ChunkDigits || !int.TryParse(text[..ChunkDigits], NumberStyles.None, CultureInfo.InvariantCulture, out int chunk))
        {
            return false;
        }

        ReadOnlySpan<char> halves = text[ChunkDigits..];
        if (!halves.IsEmpty && (halves.Length == 1 || halves[0] != Separator || halves[1..].ContainsAnyExcept('0', '1')))
        {
            return false;
        }

        id = new PartId(chunk, halves.IsEmpty ? "" : halves[1..].ToString());
        return true;
    }

    /// <summary>Returns a half of this part.</summary>
    /// <param name="second">Whether it is the second half.</param>
    public PartId Half(bool second) => new(Chunk, Halves + (second ? '1' : '0'));

    /// <summary>Returns the rows of the part within its chunk.</summary>
    /// <param name="chunkRows">The number of rows of the chunk.</param>
    /// <returns>The first row, from 0, and the number of rows; no rows if the halves are too many.</returns>
    public (long Begin, long Count) RowsOf(long chunkRows)
    {
        (long begin, long count) = (0, chunkRows);
        foreach (char half in Halves)
        {
            long first = (count + 1) / 2;
            (begin, count) = half == '0' ? (begin, first) : (begin + first, count - first);
        }

        return (begin, count);
    }

    /// <summary>Returns the share of a number of the chunk, such as its tokens, that belongs to the part. The shares of two halves have the sum of the whole.</summary>
    public long ShareOf(long number, long chunkRows)
    {
        (long begin, long count) = RowsOf(chunkRows);
        return Share(begin + count) - Share(begin);

        long Share(long rows) => (long)((Int128)number * rows / chunkRows);
    }

    public int CompareTo(PartId other) =>
        Chunk != other.Chunk ? Chunk.CompareTo(other.Chunk) : string.CompareOrdinal(Halves, other.Halves);

    /// <summary>Returns the part of a file name: <c>NNNNNNNN</c> or <c>NNNNNNNN.K</c>, with the way to the half.</summary>
    public override string ToString() => Halves.Length == 0
        ? Chunk.ToString("D8", CultureInfo.InvariantCulture)
        : string.Create(CultureInfo.InvariantCulture, $"{Chunk:D8}{Separator}{Halves}");
}
