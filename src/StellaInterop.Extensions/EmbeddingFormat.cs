using System.Collections;
using Microsoft.Extensions.AI;
using StellaInterop.Vectors;

namespace StellaInterop.Extensions;

/// <summary>Represents the number format of an embedding.</summary>
/// <param name="Name">The name of the format in a cache key.</param>
/// <param name="Convert">Converts a vector to an embedding.</param>
internal sealed record EmbeddingFormat<TEmbedding>(string Name, Func<ReadOnlyMemory<float>, TEmbedding> Convert)
    where TEmbedding : Embedding;

/// <summary>Provides the number formats of embeddings.</summary>
internal static class EmbeddingFormats
{
    public static EmbeddingFormat<Embedding<float>> Float32 { get; } = new("float32", static vector => new Embedding<float>(vector));

    public static EmbeddingFormat<Embedding<Half>> Float16 { get; } = new("float16", ToHalf);

    public static EmbeddingFormat<Embedding<sbyte>> Int8 { get; } = new("int8", ToInt8);

    public static EmbeddingFormat<BinaryEmbedding> Binary { get; } = new("binary", ToBits);

    private static Embedding<Half> ToHalf(ReadOnlyMemory<float> vector)
    {
        var half = new Half[vector.Length];
        Quantization.ToHalf(vector.Span, half);
        return new Embedding<Half>(half);
    }

    private static Embedding<sbyte> ToInt8(ReadOnlyMemory<float> vector)
    {
        var bytes = new sbyte[vector.Length];
        float scale = Quantization.ToInt8(vector.Span, bytes);
        return new Embedding<sbyte>(bytes) { AdditionalProperties = new() { [StellaEmbeddingGenerator.ScaleProperty] = scale } };
    }

    private static BinaryEmbedding ToBits(ReadOnlyMemory<float> vector)
    {
        ReadOnlySpan<float> numbers = vector.Span;
        var bits = new BitArray(numbers.Length);
        for (int i = 0; i < numbers.Length; i++)
        {
            bits[i] = numbers[i] > 0;
        }

        return new BinaryEmbedding(bits);
    }
}
