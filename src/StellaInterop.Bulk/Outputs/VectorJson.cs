using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Bulk.Outputs;

/// <summary>Writes vectors as JSON, in the form of <c>stella embed</c> and of the parts in JSON Lines. Not thread-safe.</summary>
internal sealed class VectorJson
{
    private Half[] halves = [];
    private sbyte[] integers = [];
    private byte[] bits = [];

    /// <summary>Writes an array of numbers. Each is the shortest decimal that reads back as the same 32 bits.</summary>
    public static void WriteFloat32(Utf8JsonWriter json, string name, ReadOnlySpan<float> vector) =>
        WriteArray(json, name, vector, static (writer, x) => writer.WriteNumberValue(x));

    /// <summary>Writes an array of numbers that were rounded to 16 bits.</summary>
    /// <exception cref="ArgumentException">A number exceeds the range.</exception>
    public void WriteHalf(Utf8JsonWriter json, string name, ReadOnlySpan<float> vector)
    {
        Array.Resize(ref halves, vector.Length);
        Quantization.ToHalf(vector, halves);
        WriteArray<Half>(json, name, halves, static (writer, x) => writer.WriteNumberValue((float)x));
    }

    /// <summary>Writes the scale and an array of integers.</summary>
    public void WriteInt8(Utf8JsonWriter json, string scaleName, string name, ReadOnlySpan<float> vector)
    {
        Array.Resize(ref integers, vector.Length);
        json.WriteNumber(scaleName, Quantization.ToInt8(vector, integers));
        WriteArray<sbyte>(json, name, integers, static (writer, x) => writer.WriteNumberValue(x));
    }

    /// <summary>Writes the number of bits and an array of bytes with them, the first number in the highest bit.</summary>
    public void WriteBinary(Utf8JsonWriter json, string dimensionName, string name, ReadOnlySpan<float> vector)
    {
        Array.Resize(ref bits, Quantization.GetBinaryLength(vector.Length));
        Quantization.ToBinary(vector, bits);
        json.WriteNumber(dimensionName, vector.Length);
        WriteArray<byte>(json, name, bits, static (writer, x) => writer.WriteNumberValue(x));
    }

    private static void WriteArray<T>(Utf8JsonWriter json, string name, ReadOnlySpan<T> numbers, Action<Utf8JsonWriter, T> write)
    {
        json.WriteStartArray(name);
        foreach (T x in numbers)
        {
            write(json, x);
        }

        json.WriteEndArray();
    }
}
