using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace StellaInterop.Bench.Synthetic;

/// <summary>A safetensors file of synthetic tensors, in order and without gaps.</summary>
internal sealed class SyntheticFile
{
    /// <summary>Values that are made at a time.</summary>
    private const int Chunk = 1 << 22;

    /// <summary>Values that one thread makes at a time.</summary>
    private const int Piece = 1 << 18;

    private readonly Dictionary<string, long> offsets = [];

    /// <param name="dataStart">Where the data begins; the header is padded with spaces up to there.</param>
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

        Head = MakeHead(dataStart);
    }

    public IReadOnlyList<SyntheticTensor> Tensors { get; }

    /// <summary>Bytes of the file.</summary>
    public long Length { get; }

    /// <summary>Everything before the data: the length of the header, and the header.</summary>
    public ReadOnlyMemory<byte> Head { get; }

    /// <summary>Where a tensor's data begins in the file.</summary>
    public long OffsetOf(SyntheticTensor tensor) => offsets[tensor.Name];

    /// <summary>Gives the file to <paramref name="write"/>, part by part.</summary>
    public void Write(Action<ReadOnlyMemory<byte>> write, CancellationToken cancellationToken)
    {
        write(Head);
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

    private byte[] MakeHead(int dataStart)
    {
        var head = new byte[dataStart];
        head.AsSpan().Fill((byte)' ');
        BinaryPrimitives.WriteUInt64LittleEndian(head, (ulong)(dataStart - sizeof(ulong)));
        using var json = new MemoryStream(head, sizeof(ulong), dataStart - sizeof(ulong));
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
        return head;
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
