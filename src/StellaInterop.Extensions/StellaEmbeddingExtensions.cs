using System.Text.Json;
using Microsoft.Extensions.AI;

namespace StellaInterop;

/// <summary>Reads the properties that a <see cref="StellaEmbeddingGenerator"/> adds to an embedding.</summary>
/// <remarks>
/// The values are numbers and strings in <see cref="Embedding.AdditionalProperties"/>, which can be serialized as JSON without
/// reflection. The methods accept embeddings from the generator, from a cache and from JSON. They are thread-safe if no other
/// thread changes the embedding.
/// </remarks>
public static class StellaEmbeddingExtensions
{
    private const string TruncatedByTokens = "tokens";
    private const string TruncatedByBytes = "bytes";

    /// <summary>Returns the number of tokens of the text, and whether the text was truncated.</summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>
    /// The count; <see langword="null"/> if the embedding has none, for example because another generator created it.
    /// </returns>
    public static StellaTokenCount? GetTokenCount(this Embedding embedding)
    {
        ArgumentNullException.ThrowIfNull(embedding);
        return GetNumber(embedding, StellaEmbeddingGenerator.TokenCountProperty) is { } kept
            && GetNumber(embedding, StellaEmbeddingGenerator.TotalTokenCountProperty) is { } total
                ? new StellaTokenCount
                {
                    Kept = (int)kept,
                    Total = (int)total,
                    Truncation = GetText(embedding, StellaEmbeddingGenerator.TruncationProperty) switch
                    {
                        null => StellaTruncation.None,
                        TruncatedByBytes => StellaTruncation.Bytes,
                        _ => StellaTruncation.Tokens,
                    },
                    Replaced = (int)(GetNumber(embedding, StellaEmbeddingGenerator.ReplacedProperty) ?? 0),
                }
                : null;
    }

    /// <summary>
    /// Returns the scale of an int8 embedding. Each component of the vector is approximately its integer times the scale.
    /// </summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>The scale, which is not negative; <see langword="null"/> if the embedding has another number format.</returns>
    public static float? GetScale(this Embedding embedding)
    {
        ArgumentNullException.ThrowIfNull(embedding);
        return (float?)GetNumber(embedding, StellaEmbeddingGenerator.ScaleProperty);
    }

    /// <summary>Adds the token count of a text to the properties of its embedding.</summary>
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

    private static double? GetNumber(Embedding embedding, string name) => GetValue(embedding, name) switch
    {
        int number => number,
        float number => number,
        JsonElement { ValueKind: JsonValueKind.Number } json => json.GetDouble(),
        _ => null,
    };

    private static string? GetText(Embedding embedding, string name) => GetValue(embedding, name) switch
    {
        string text => text,
        JsonElement { ValueKind: JsonValueKind.String } json => json.GetString(),
        _ => null,
    };

    private static object? GetValue(Embedding embedding, string name) => embedding.AdditionalProperties?.GetValueOrDefault(name);
}
