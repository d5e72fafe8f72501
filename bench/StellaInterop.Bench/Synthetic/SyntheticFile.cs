using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace StellaInterop.Bench.Synthetic;

/// <summary>A safetensors file of synthetic tensors, in order and without gaps.</summary>
internal sealed class SyntheticFile
{
    /// <summary>Number of values that are generated at a time.</summary>
    private const int Chunk = 1 << 22;

    /// <summary>Number of values that one thread generates at a time.</summary>
    private const int Piece = 1 << 18;

    private readonly Dictionary<string, long> offsets = [];

    /// <param name="dataStart">Offset of the data. The header is padded with spaces up to this offset.</param>
    /// <param name="tensors">The tensors.</param>
    public SyntheticFile(int dataStart, IReadOnlyList<SyntheticTensor> tensors)
    {
        Tensors = tensors;
        Length = dataStart;
        foreach (SyntheticTensor tensor in tensors)
        {
            offsets.Add(tensor.Name, Length);
            Length += tensor.Count * sizeof(float);
        }

        Header = MakeHeader(dataStart);
    }

    public IReadOnlyList<SyntheticTensor> Tensors { get; }

    /// <summary>Gets the length of the file in bytes.</summary>
    public long Length { get; }

    /// <summary>Gets the bytes before the data: the length of the JSON header, and the JSON header.</summary>
    public ReadOnlyMemory<byte> Header { get; }

    /// <summary>Returns the offset of a tensor's data in the file.</summary>
    public long OffsetOf(SyntheticTensor tensor) => offsets[tensor.Name];

    /// <summary>Writes the file by calling <paramref name="write"/> for one part after another.</summary>
    public void Write(Action<ReadOnlyMemory<byte>> write, CancellationToken cancellationToken)
    {
        write(Header);
        byte[] buffer = new byte[Chunk * sizeof(float)];
        foreach (SyntheticTensor tensor in Tensors)
        {
            for (long first = 0; first < tensor.Count; first += Chunk)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int count = (int)Math.Min(Chunk, tensor.Count - first);
                Parallel.For(0, (count + Piece - 1) / Piece, piece =>
                {
                    int start = piece * Piece;
                    Span<float> values = MemoryMarshal.Cast<byte, float>(buffer.AsSpan())[start..Math.Min(count, start + Piece)];
                    tensor.Fill(first + start, values);
                });
                write(buffer.AsMemory(0, count * sizeof(float)));
            }
        }
    }

    private byte[] MakeHeader(int dataStart)
    {
        var header = new byte[dataStart];
        header.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(dataStart - sizeof(ulong)));
        using var json = new MemoryStream(header, sizeof(ulong), dataStart - sizeof(ulong));
        using var writer = new Utf8JsonWriter(json);
        writer.WriteStartObject();
        writer.WriteStartObject("__metadata__");
        writer.WriteString("format", "pt");
        writer.WriteEndObject();
        foreach (SyntheticTensor tensor in Tensors)
        {
            long begin = OffsetOf(tensor) - dataStart;
            writer.WriteStartObject(tensor.Name);
            writer.WriteString("dtype", "F32");
            WriteNumbers(writer, "shape", [.. tensor.Shape.Select(length => (long)length)]);
            WriteNumbers(writer, "data_offsets", [begin, begin + (tensor.Count * sizeof(float))]);
            writer.WriteEndObject();
        }

        writer.WriteEndObject();
        return header;
    }

    private static void WriteNumbers(Utf8JsonWriter writer, string name, ReadOnlySpan<long> numbers)
    {
        writer.WriteStartArray(name);
        foreach (long number in numbers)
        {
            writer.WriteNumberValue(number);
        }

        writer.WriteEndArray();
    }
}
