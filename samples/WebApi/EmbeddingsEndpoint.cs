using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace StellaInterop.Samples.WebApi;

/// <summary>Handles <c>POST /v1/embeddings</c>.</summary>
internal static class EmbeddingsEndpoint
{
    private static readonly string[] Formats = ["float", "base64"];
    private static readonly string[] InputTypes = ["document", "query"];

    public static async Task<IResult> HandleAsync(
        EmbeddingsRequest request,
        IEmbeddingGenerator<string, Embedding<float>> documents,
        [FromKeyedServices(StellaServiceKeys.Query)] IEmbeddingGenerator<string, Embedding<float>> queries,
        CancellationToken aborted)
    {
        string format = request.EncodingFormat ?? Formats[0];
        string type = request.InputType ?? InputTypes[0];
        string[]? texts = request.GetTexts();
        string? error = texts is null ? "'input' must be a text or an array of texts, without unpaired surrogates."
            : !Formats.Contains(format) ? $"'encoding_format' is '{format}'; it must be one of {string.Join(", ", Formats)}."
            : !InputTypes.Contains(type) ? $"'input_type' is '{type}'; it must be one of {string.Join(", ", InputTypes)}."
            : null;
        if (error is not null)
        {
            return Results.Problem(error, statusCode: StatusCodes.Status400BadRequest);
        }

        var options = new EmbeddingGenerationOptions { ModelId = request.Model, Dimensions = request.Dimensions };
        GeneratedEmbeddings<Embedding<float>> embeddings =
            await (type == "query" ? queries : documents).GenerateAsync(texts!, options, aborted);

        EmbeddingRow[] rows = [.. embeddings.Select((embedding, index) => new EmbeddingRow("embedding", index, Encode(embedding.Vector, format)))];
        string model = embeddings.FirstOrDefault()?.ModelId ?? request.Model ?? string.Empty;
        long tokens = embeddings.Usage?.TotalTokenCount ?? 0;
        return Results.Ok(new EmbeddingsResponse("list", rows, model, new TokenUsage(tokens, tokens)));
    }

    private static JsonElement Encode(ReadOnlyMemory<float> vector, string format) => format == "base64"
        ? JsonSerializer.SerializeToElement(Convert.ToBase64String(MemoryMarshal.AsBytes(vector.Span)), ApiJson.Default.String)
        : JsonSerializer.SerializeToElement(vector, ApiJson.Default.ReadOnlyMemorySingle);
}
