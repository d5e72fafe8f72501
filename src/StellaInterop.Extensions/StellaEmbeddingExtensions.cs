using System.Text.Json;
using Microsoft.Extensions.AI;

namespace StellaInterop;

/// <summary>Reads the properties that a <see cref="StellaEmbeddingGenerator"/> adds to an embedding.</summary>
/// <remarks>
/// The values are numbers and text in <see cref="Embedding.AdditionalProperties"/>, so that they survive JSON, also without reflection.
/// The methods read them from an embedding of the generator, of a cache, and from one that was stored as JSON and read again.
/// Thread-safe, as long as nobody changes the embedding.
/// </remarks>
public static class StellaEmbeddingExtensions
{
    private const string TruncatedByTokens = "tokens";
    private const string TruncatedByBytes = "bytes";

    /// <summary>Returns the number of tokens of the text, and whether the text was truncated.</summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>The count; <see langword="null"/> if the embedding has none, because another generator made it.</returns>
    public static StellaTokenCount? GetTokenCount(this Embedding embedding)
    {
        ArgumentNullException.ThrowIfNull(embedding);
        return Number(embedding, StellaEmbeddingGenerator.TokenCountProperty) is { } kept
            && Number(embedding, StellaEmbeddingGenerator.TotalTokenCountProperty) is { } total
                ? new StellaTokenCount
                {
                    Kept = (int)kept,
                    Total = (int)total,
                    Truncation = Text(embedding, StellaEmbeddingGenerator.TruncationProperty) switch
                    {
                        null => StellaTruncation.None,
                        TruncatedByBytes => StellaTruncation.Bytes,
                        _ => StellaTruncation.Tokens,
                    },
                    Replaced = (int)(Number(embedding, StellaEmbeddingGenerator.ReplacedProperty) ?? 0),
                }
                : null;
    }

    /// <summary>Returns the scale of an int8 embedding: a number is about its integer times the scale.</summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>The scale, 0 or more; <see langword="null"/> if the embedding has none, because it is of another form.</returns>
    public static float? GetScale(this Embedding embedding)
    {
        ArgumentNullException.ThrowIfNull(embedding);
        return (float?)Number(embedding, StellaEmbeddingGenerator.ScaleProperty);
    }

    /// <summary>Writes a text's token count into the properties of its embedding.</summary>
    internal static void SetTokenCount(this AdditionalPropertiesDictionary properties, StellaTokenCount count)
    {
        properties[StellaEmbeddingGenerator.TokenCountProperty] = count.Kept;
        properties[StellaEmbeddingGenerator.TotalTokenCountProperty] = count.Total;
        if (count.IsTruncated)
        {
            properties[StellaEmbeddingGenerator.TruncationProperty] = count.Truncation == StellaTruncation.Bytes ? TruncatedByBytes : TruncatedByTokens;
        }

        if (count.Replaced > 0)
        {
            properties[StellaEmbeddingGenerator.ReplacedProperty] = count.Replaced;
        }
    }

    private static double? Number(Embedding embedding, string name) => Value(embedding, name) switch
    {
        int number => number,
        float number => number,
        JsonElement { ValueKind: JsonValueKind.Number } json => json.GetDouble(),
        _ => null,
    };

    private static string? Text(Embedding embedding, string name) => Value(embedding, name) switch
    {
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } json => json.GetString(),
        _ => null,
    };

    private static object? Value(Embedding embedding, string name) => embedding.AdditionalProperties?.GetValueOrDefault(name);
}
