using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using Json.Schema;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Http;
using StellaInterop.Server.OpenApi;

namespace StellaInterop.Tests;

/// <summary>The description of the API that a server publishes. Answers are validated against it.</summary>
internal sealed class ApiDescription
{
    private readonly JsonElement paths;
    private readonly ConcurrentDictionary<string, JsonSchema> schemas = [];

    private ApiDescription(JsonElement paths) => this.paths = paths;

    public static ApiDescription Of(IServiceProvider services)
    {
        ServerRoute[] routes = [.. services.GetRequiredService<EndpointDataSource>().Endpoints
            .Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>())
            .Where(route => route is { Method: not ServerRoute.AnyMethod })!];
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            OpenApiDocument.Write(json, routes);
        }

        return new ApiDescription(JsonSerializer.Deserialize<JsonElement>(stream.ToArray()).GetProperty("paths"));
    }

    /// <summary>Fails if the answer of a described route differs from its description.</summary>
    public void AssertValid(string method, string path, ServerAnswer answer)
    {
        string described = path.StartsWith("/v1/models/", StringComparison.Ordinal) ? "/v1/models/{model}" : path;
        if (!paths.TryGetProperty(described, out JsonElement methods) || !methods.TryGetProperty(method.ToLowerInvariant(), out JsonElement route))
        {
            return;
        }

        JsonElement response = route.GetProperty("responses").GetProperty(answer.Status == HttpStatusCode.OK ? "200" : "default");
        if (!response.TryGetProperty("content", out JsonElement content))
        {
            return;
        }

        string text = content.GetProperty("application/json").GetProperty("schema").GetRawText();
        JsonSchema schema = schemas.GetOrAdd(text, text => JsonSchema.FromText(text));
        EvaluationResults results = schema.Evaluate(System.Text.Json.Nodes.JsonNode.Parse(answer.Body), new EvaluationOptions { OutputFormat = OutputFormat.List });
        Assert.That(
            results.IsValid,
            $"{method} {path}: {string.Join("; ", results.Details.Where(detail => detail.HasErrors).SelectMany(detail => detail.Errors!.Select(error => $"{detail.InstanceLocation}: {error.Value}")))}\n{answer.Body[..Math.Min(500, answer.Body.Length)]}");
    }
}
