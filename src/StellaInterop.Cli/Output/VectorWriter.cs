using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.Vectors;

namespace StellaInterop.Cli.Output;

/// <summary>Writes vectors of one dimension in one number format.</summary>
/// <param name="type">The number format.</param>
/// <param name="dimension">The dimension of the vectors.</param>
/// <param name="kept">The number of leading components that are written.</param>
internal sealed class VectorWriter(OutputType type, int dimension, int kept)
{
    private readonly float[] prefix = new float[kept];
    private readonly Half[] halves = new Half[kept];
    private readonly sbyte[] integers = new sbyte[kept];
    private readonly byte[] bits = new byte[Quantization.GetBinaryLength(kept)];

    /// <summary>Writes the property <c>embedding</c>, preceded by the properties that its number format needs.</summary>
    public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector)
    {
        try
        {
            if (kept < dimension)
            {
                PrefixTruncation.TruncateAndRenormalize(vector, prefix);
                vector = prefix;
            }

            WriteValues(json, vector);
        }
        catch (ArgumentException e)
        {
            // A raw vector may exceed the range of Half, and the prefix of a vector may be zero.
            throw new CliException(ExitCode.Usage, $"The vector of text {index} cannot be written in this number format: {e.Message}");
        }
    }

    private void WriteValues(Utf8JsonWriter json, ReadOnlySpan<float> vector)
    {
        switch (type)
        {
            case OutputType.Float32:
                // Utf8JsonWriter writes the shortest decimal that reads back as the same 32 bits.
                WriteEmbedding(json, vector, static (writer, x) => writer.WriteNumberValue(x));
                break;
            case OutputType.Half:
                Quantization.ToHalf(vector, halves);
                WriteEmbedding<Half>(json, halves, static (writer, x) => writer.WriteNumberValue((float)x));
                break;
            case OutputType.Int8:
                json.WriteNumber("scale", Quantization.ToInt8(vector, integers));
                WriteEmbedding<sbyte>(json, integers, static (writer, x) => writer.WriteNumberValue(x));
                break;
            default:
                Quantization.ToBinary(vector, bits);
                json.WriteNumber("dimension", vector.Length);
                WriteEmbedding<byte>(json, bits, static (writer, x) => writer.WriteNumberValue(x));
                break;
        }
    }

    private static void WriteEmbedding<T>(Utf8JsonWriter json, ReadOnlySpan<T> numbers, Action<Utf8JsonWriter, T> write)
    {
        json.WriteStartArray("embedding");
        foreach (T x in numbers)
        {
            write(json, x);
        }

        json.WriteEndArray();
    }
}
