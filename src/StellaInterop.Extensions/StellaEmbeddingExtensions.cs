using System.Text.Json;
using Microsoft.Extensions.AI;

namespace StellaInterop;

/// <summary>Reads what a <see cref="StellaEmbeddingGenerator"/> says beside a vector.</summary>
/// <remarks>
/// The values are numbers and text in <see cref="Embedding.AdditionalProperties"/>, so that they survive JSON, also without reflection.
/// These methods read them from an embedding of the generator, of a cache, and from one that was stored as JSON and read again.
/// Thread-safe, as long as nobody changes the embedding.
/// </remarks>
public static class StellaEmbeddingExtensions
{
    private const string CutByTokens = "tokens";
    private const string CutByBytes = "bytes";

    /// <summary>Gets the number of tokens of the text, and whether the text was cut.</summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>The count; <see langword="null"/> if the embedding does not carry one, since another generator made it.</returns>
    public static StellaTokenCount? GetTokenCount(this Embedding embedding)
    {
        ArgumentNullException.ThrowIfNull(embedding);
        return Number(embedding, StellaEmbeddingGenerator.TokenCountProperty) is { } kept
            && Number(embedding, StellaEmbeddingGenerator.TotalTokenCountProperty) is { } total
                ? new StellaTokenCount(
                    (int)kept,
                    (int)total,
                    Text(embedding, StellaEmbeddingGenerator.CutProperty) switch
                    {
                        null => StellaCut.None,
                        CutByBytes => StellaCut.Bytes,
                        _ => StellaCut.Tokens,
                    },
                    (int)(Number(embedding, StellaEmbeddingGenerator.ReplacedProperty) ?? 0))
                : null;
    }

    /// <summary>Gets the factor that turns the bytes of an int8 embedding back into numbers.</summary>
    /// <param name="embedding">The embedding.</param>
    /// <returns>The factor, above 0; <see langword="null"/> if the embedding has none, as in any form but int8.</returns>
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
            properties[StellaEmbeddingGenerator.CutProperty] = count.Cut == StellaCut.Bytes ? CutByBytes : CutByTokens;
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
