using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop.Samples.WebApi;

/// <summary>Represents a request for embeddings.</summary>
/// <param name="Input">A text or an array of texts.</param>
/// <param name="Model">The name of the model. Another name is an error; <see langword="null"/> skips the check.</param>
/// <param name="Dimensions">The dimension of the vectors, one of the dimensions of the model.</param>
/// <param name="EncodingFormat"><c>float</c> for numbers, or <c>base64</c> for their bytes in little-endian order.</param>
/// <param name="InputType"><c>document</c> or <c>query</c>. The API of OpenAI does not have this parameter.</param>
internal sealed record EmbeddingsRequest(
    JsonElement Input,
    string? Model = null,
    int? Dimensions = null,
    string? EncodingFormat = null,
    string? InputType = null)
{
    /// <summary>
    /// Returns the texts; <see langword="null"/> if the input has other values, or a string with an unpaired surrogate.
    /// </summary>
    public string[]? GetTexts()
    {
        JsonElement[] values = Input.ValueKind == JsonValueKind.Array ? [.. Input.EnumerateArray()] : [Input];
        try
        {
            return values.All(value => value.ValueKind == JsonValueKind.String) ? [.. values.Select(value => value.GetString()!)] : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }
}

/// <summary>Represents the response to a request for embeddings.</summary>
internal sealed record EmbeddingsResponse(string Object, IReadOnlyList<EmbeddingRow> Data, string Model, TokenUsage Usage);

/// <summary>Represents the embedding of one text.</summary>
/// <param name="Object">Always <c>embedding</c>.</param>
/// <param name="Index">The index of the text.</param>
/// <param name="Embedding">An array of numbers, or their bytes in Base64.</param>
internal sealed record EmbeddingRow(string Object, int Index, JsonElement Embedding);

/// <summary>Represents the number of tokens of a request.</summary>
internal sealed record TokenUsage(long PromptTokens, long TotalTokens);

[JsonSerializable(typeof(EmbeddingsRequest))]
[JsonSerializable(typeof(EmbeddingsResponse))]
[JsonSerializable(typeof(ReadOnlyMemory<float>))]
[JsonSerializable(typeof(string))]
internal sealed partial class ApiJson : JsonSerializerContext;
