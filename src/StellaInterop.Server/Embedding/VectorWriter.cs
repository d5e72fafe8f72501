using System.Buffers;
using System.Runtime.InteropServices;
using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Server.Embedding;

/// <summary>Specifies the type of the numbers of a vector.</summary>
internal enum VectorType
{
    Float,
    Half,

    /// <summary>Whole numbers from -127 to 127, with a scale.</summary>
    Int8,

    /// <summary>The numbers of <see cref="Int8"/> plus 128.</summary>
    Uint8,

    /// <summary>One bit for each number, 1 for a number above zero. Eight bits, the first the highest, are a byte less 128.</summary>
    Binary,

    /// <summary>The bytes of <see cref="Binary"/> without the difference of 128.</summary>
    Ubinary,
}

/// <summary>Specifies how a vector is written in JSON.</summary>
internal enum VectorEncoding
{
    /// <summary>An array of numbers.</summary>
    Numbers,

    /// <summary>A string of the bytes in Base64, little-endian.</summary>
    Base64,
}

/// <summary>Writes vectors as JSON.</summary>
internal static class VectorWriter
{
    /// <summary>The difference between the signed and the unsigned form of a byte.</summary>
    private const int SignOffset = 128;

    /// <summary>Writes a property with a vector, and a property <c>scale</c> after it if the numbers need one.</summary>
    public static void WriteProperty(Utf8JsonWriter json, string name, ReadOnlySpan<float> vector, VectorType type, VectorEncoding encoding)
    {
        json.WritePropertyName(name);
        float? scale = Write(json, vector, type, encoding);
        if (scale is { } factor)
        {
            json.WriteNumber("scale", factor);
        }
    }

    /// <summary>Writes a vector.</summary>
    /// <returns>The factor that turns the numbers back, if the type needs one.</returns>
    public static float? Write(Utf8JsonWriter json, ReadOnlySpan<float> vector, VectorType type, VectorEncoding encoding)
    {
        if (type == VectorType.Float)
        {
            // Straight from the memory of the vector: base64 copies nothing.
            WriteNumbers(json, vector, encoding, static (json, value) => json.WriteNumberValue(value));
            return null;
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(vector.Length * sizeof(ushort));
        try
        {
            return WriteSmall(json, vector, buffer, type, encoding);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static float? WriteSmall(Utf8JsonWriter json, ReadOnlySpan<float> vector, byte[] buffer, VectorType type, VectorEncoding encoding)
    {
        if (type == VectorType.Half)
        {
            Span<Half> half = MemoryMarshal.Cast<byte, Half>(buffer.AsSpan())[..vector.Length];
            Quantization.ToHalf(vector, half);
            WriteNumbers<Half>(json, half, encoding, static (json, value) => json.WriteNumberValue((float)value));
            return null;
        }

        if (type is VectorType.Int8 or VectorType.Uint8)
        {
            Span<sbyte> numbers = MemoryMarshal.Cast<byte, sbyte>(buffer.AsSpan())[..vector.Length];
            float scale = Quantization.ToInt8(vector, numbers);
            WriteBytes(json, buffer.AsSpan(0, vector.Length), encoding, isSigned: type == VectorType.Int8, addsOffset: type == VectorType.Uint8);
            return scale;
        }

        Span<byte> bits = buffer.AsSpan(0, Quantization.GetBinaryLength(vector.Length));
        Quantization.ToBinary(vector, bits);
        WriteBytes(json, bits, encoding, isSigned: type == VectorType.Binary, addsOffset: type == VectorType.Binary);
        return null;
    }

    private static void WriteBytes(Utf8JsonWriter json, Span<byte> bytes, VectorEncoding encoding, bool isSigned, bool addsOffset)
    {
        if (addsOffset)
        {
            for (int i = 0; i < bytes.Length; i++)
            {
                // Modulo 256, adding and subtracting 128 are the same.
                bytes[i] = unchecked((byte)(bytes[i] + SignOffset));
            }
        }

        if (isSigned)
        {
            WriteNumbers(json, MemoryMarshal.Cast<byte, sbyte>((ReadOnlySpan<byte>)bytes), encoding, static (json, value) => json.WriteNumberValue(value));
        }
        else
        {
            WriteNumbers<byte>(json, bytes, encoding, static (json, value) => json.WriteNumberValue(value));
        }
    }

    private static void WriteNumbers<T>(Utf8JsonWriter json, ReadOnlySpan<T> numbers, VectorEncoding encoding, Action<Utf8JsonWriter, T> write)
        where T : struct
    {
        if (encoding == VectorEncoding.Base64)
        {
            json.WriteBase64StringValue(MemoryMarshal.AsBytes(numbers));
            return;
        }

        json.WriteStartArray();
        foreach (T number in numbers)
        {
            write(json, number);
        }

        json.WriteEndArray();
    }
}
