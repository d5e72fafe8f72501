using System.Buffers.Binary;
using System.Text;

namespace StellaInterop.Bulk.Parquet;

/// <summary>
/// Builds a FlatBuffer, the form of Arrow's metadata. The buffer is written from its end, so an object is written before those that
/// refer to it. A position is a number of bytes from the end.
/// </summary>
internal sealed class FlatBuffer
{
    private const int OffsetBytes = sizeof(int);

    /// <summary>The bytes in the reverse order.</summary>
    private readonly List<byte> reversed = [];

    /// <summary>Writes a table.</summary>
    /// <param name="fields">The values by the slot of their field. Each has its own size; a reference is a <see cref="Reference"/>.</param>
    public Reference AddTable(params (int Slot, object Value)[] fields)
    {
        int end = reversed.Count;
        var positions = new Dictionary<int, int>();
        foreach ((int slot, object value) in fields)
        {
            AddValue(value);
            positions[slot] = reversed.Count;
        }

        // The table begins with the distance to its list of slots, which is directly before it.
        Align(OffsetBytes, OffsetBytes);
        int table = reversed.Count + OffsetBytes;
        int slots = positions.Count == 0 ? 0 : positions.Keys.Max() + 1;
        int listBytes = (2 + slots) * sizeof(short);
        AddInt32(listBytes);
        for (int slot = slots - 1; slot >= 0; slot--)
        {
            AddInt16((short)(positions.TryGetValue(slot, out int position) ? table - position : 0));
        }

        AddInt16((short)(table - end));
        AddInt16((short)listBytes);
        return new Reference(table);
    }

    /// <summary>Writes a string.</summary>
    public Reference AddString(string value)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(value);
        Align(OffsetBytes, bytes.Length + 1);
        reversed.Add(0);
        AddReversed(bytes);
        AddInt32(bytes.Length);
        return new Reference(reversed.Count);
    }

    /// <summary>Writes a list of references.</summary>
    public Reference AddVector(IReadOnlyList<Reference> items)
    {
        Align(OffsetBytes, 0);
        for (int i = items.Count - 1; i >= 0; i--)
        {
            AddValue(items[i]);
        }

        AddInt32(items.Count);
        return new Reference(reversed.Count);
    }

    /// <summary>Ends the buffer with the reference to its root.</summary>
    /// <returns>The bytes. Their number is a multiple of 8.</returns>
    public byte[] Finish(Reference root)
    {
        Align(sizeof(long), OffsetBytes);
        AddValue(root);
        byte[] bytes = [.. reversed];
        Array.Reverse(bytes);
        return bytes;
    }

    private void AddValue(object value)
    {
        switch (value)
        {
            case bool flag:
                reversed.Add(flag ? (byte)1 : (byte)0);
                break;
            case byte number:
                reversed.Add(number);
                break;
            case short number:
                Align(sizeof(short), 0);
                AddInt16(number);
                break;
            case int number:
                Align(sizeof(int), 0);
                AddInt32(number);
                break;
            case Reference reference:
                Align(OffsetBytes, 0);
                // A reference is the distance from itself to its object.
                AddInt32(reversed.Count + OffsetBytes - reference.Position);
                break;
            default:
                throw new ArgumentException($"A FlatBuffer of this kind has no {value.GetType()}.", nameof(value));
        }
    }

    private void AddInt16(short value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(short)];
        BinaryPrimitives.WriteInt16LittleEndian(bytes, value);
        AddReversed(bytes);
    }

    private void AddInt32(int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        AddReversed(bytes);
    }

    private void AddReversed(ReadOnlySpan<byte> bytes)
    {
        for (int i = bytes.Length - 1; i >= 0; i--)
        {
            reversed.Add(bytes[i]);
        }
    }

    /// <summary>Adds zeros, so that the position is a multiple of an alignment after as many further bytes.</summary>
    private void Align(int alignment, int further)
    {
        while ((reversed.Count + further) % alignment != 0)
        {
            reversed.Add(0);
        }
    }

    /// <summary>Represents an object in the buffer.</summary>
    /// <param name="Position">The number of bytes from its begin to the end of the buffer.</param>
    public readonly record struct Reference(int Position);
}
