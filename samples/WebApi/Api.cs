using System.Text.Json;
using System.Text.Json.Serialization;

namespace StellaInterop.Samples.WebApi;

/// <summary>What a client asks for.</summary>
/// <param name="Input">A text, or several.</param>
/// <param name="Model">The model, if the client wants to be sure which it is.</param>
/// <param name="Dimensions">Length of the vectors, one of those that the model has.</param>
/// <param name="EncodingFormat"><c>float</c>, numbers, or <c>base64</c>, their bytes in little endian.</param>
/// <param name="InputType"><c>document</c>, or <c>query</c> for what is searched with. Not OpenAI's.</param>
internal sealed record EmbeddingsRequest(
    JsonElement Input,
    string? Model = null,
    int? Dimensions = null,
    string? EncodingFormat = null,
    string? InputType = null)
{
    /// <summary>The texts, or <see langword="null"/> when they are not texts, or hold half a character.</summary>
    public string[]? Texts()
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

/// <summary>What it gets.</summary>
internal sealed record EmbeddingsResponse(string Object, IReadOnlyList<EmbeddingRow> Data, string Model, TokenUsage Usage);

/// <param name="Embedding">An array of numbers, or their bytes in Base64.</param>
internal sealed record EmbeddingRow(string Object, int Index, JsonElement Embedding);

internal sealed record TokenUsage(long PromptTokens, long TotalTokens);

[JsonSerializable(typeof(EmbeddingsRequest))]
[JsonSerializable(typeof(EmbeddingsResponse))]
[JsonSerializable(typeof(ReadOnlyMemory<float>))]
[JsonSerializable(typeof(string))]
internal sealed partial class ApiJson : JsonSerializerContext;
