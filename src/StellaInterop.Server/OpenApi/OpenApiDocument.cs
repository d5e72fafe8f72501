using System.Text.Json;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Options;

namespace StellaInterop.Server.OpenApi;

/// <summary>Writes the description of the API in the form of OpenAPI 3.1, from the tables that the server itself works by.</summary>
internal static class OpenApiDocument
{
    /// <summary>Writes the description of routes.</summary>
    public static void Write(Utf8JsonWriter json, IEnumerable<ServerRoute> routes)
    {
        json.WriteStartObject();
        json.WriteString("openapi", "3.1.0");
        json.WriteStartObject("info");
        json.WriteString("title", "StellaInterop embedding server");
        json.WriteString("version", ServerVersion.Text);
        json.WriteEndObject();
        json.WriteStartObject("components");
        json.WriteStartObject("securitySchemes");
        json.WriteStartObject("key");
        json.WriteString("type", "http");
        json.WriteString("scheme", "bearer");
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteStartObject("paths");
        foreach (IGrouping<string, ServerRoute> path in routes.GroupBy(route => route.Path.Replace("{**", "{", StringComparison.Ordinal)).OrderBy(path => path.Key, StringComparer.Ordinal))
        {
            json.WriteStartObject(path.Key);
            foreach (ServerRoute route in path)
            {
                WriteRoute(json, route);
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteRoute(Utf8JsonWriter json, ServerRoute route)
    {
#pragma warning disable CA1308 // OpenAPI writes methods in lower case.
        json.WriteStartObject(route.Method.ToLowerInvariant());
#pragma warning restore CA1308
        json.WriteString("summary", route.Summary);
        json.WriteStartArray("tags");
        json.WriteStringValue(route.Protocol.Name);
        json.WriteEndArray();
        if (route.Access == RouteAccess.Key)
        {
            json.WriteStartArray("security");
            json.WriteStartObject();
            json.WriteStartArray("key");
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
        }

        if (route.Path.Contains("{**", StringComparison.Ordinal))
        {
            json.WriteStartArray("parameters");
            json.WriteStartObject();
            json.WriteString("name", route.Path.Split("{**")[1].TrimEnd('}'));
            json.WriteString("in", "path");
            json.WriteBoolean("required", true);
            json.WritePropertyName("schema");
            json.WriteRawValue("""{"type":"string"}""");
            json.WriteEndObject();
            json.WriteEndArray();
        }

        if (route.Body is { } body)
        {
            json.WriteStartObject("requestBody");
            json.WriteBoolean("required", true);
            json.WritePropertyName("content");
            json.WriteStartObject();
            json.WriteStartObject("application/json");
            json.WritePropertyName("schema");
            WriteObject(json, body);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteStartObject("responses");
        WriteResponse(json, "200", "The answer.", route.AnswerSchema);
        WriteResponse(json, "default", "A refusal.", route.Protocol.ErrorSchema);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static void WriteResponse(Utf8JsonWriter json, string status, string description, string? schema)
    {
        json.WriteStartObject(status);
        json.WriteString("description", description);
        if (schema is not null)
        {
            json.WriteStartObject("content");
            json.WriteStartObject("application/json");
            json.WritePropertyName("schema");
            json.WriteRawValue(schema);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static void WriteObject(Utf8JsonWriter json, IReadOnlyList<IFieldSchema> fields)
    {
        json.WriteStartObject();
        json.WriteString("type", "object");
        json.WriteStartObject("properties");
        foreach (IFieldSchema field in fields)
        {
            json.WritePropertyName(field.Name);
            WriteField(json, field);
        }

        json.WriteEndObject();
        json.WriteStartArray("required");
        foreach (IFieldSchema field in fields.Where(field => field.IsRequired))
        {
            json.WriteStringValue(field.Name);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteField(Utf8JsonWriter json, IFieldSchema field)
    {
        if (field.Type == FieldType.Group)
        {
            WriteObject(json, field.Fields);
            return;
        }

        json.WriteStartObject();
        json.WriteString("description", field.Description);
        switch (field.Type)
        {
            case FieldType.Text:
                json.WriteString("type", "string");
                break;
            case FieldType.Whole:
                json.WriteString("type", "integer");
                break;
            case FieldType.Flag:
                json.WriteString("type", "boolean");
                break;
            case FieldType.Texts:
                WriteOneOf(json, """{"type":"string"}""", """{"type":"array","items":{"type":"string"}}""");
                break;
            case FieldType.Ids:
                WriteOneOf(json, """{"type":"array","items":{"type":"integer"}}""", """{"type":"array","items":{"type":"array","items":{"type":"integer"}}}""");
                break;
            default:
                // Any value.
                break;
        }

        if (field.Choices is { } choices)
        {
            json.WriteStartArray("enum");
            foreach (string choice in choices)
            {
                json.WriteStringValue(choice);
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    private static void WriteOneOf(Utf8JsonWriter json, params ReadOnlySpan<string> schemas)
    {
        json.WriteStartArray("oneOf");
        foreach (string schema in schemas)
        {
            json.WriteRawValue(schema);
        }

        json.WriteEndArray();
    }
}
