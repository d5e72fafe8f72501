using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;

namespace StellaInterop.Server.OpenApi;

/// <summary>Writes a page about the API for people, from the tables that <see cref="OpenApiDocument"/> is made of.</summary>
/// <remarks>
/// The page has no script, loads nothing and names no model, so it may be shown to everyone: a browser cannot send a key for a page that it
/// opens. The policy lets the browser use the style of the page and nothing else.
/// </remarks>
internal static class ApiPage
{
    /// <summary>The address in the examples if that of the request is not safe to be pasted into a shell.</summary>
    private const string DefaultAddress = "http://127.0.0.1:8080";

    private const string Style = """
        :root{color-scheme:light dark}
        body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
        pre{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.25rem}
        table{border-collapse:collapse}
        th,td{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0}
        h3{font-family:ui-monospace,monospace;margin-top:2rem}
        """;

    private static readonly Dictionary<FieldType, string> TypeNames = new()
    {
        [FieldType.Text] = "string",
        [FieldType.Texts] = "string or array of strings",
        [FieldType.Whole] = "integer",
        [FieldType.Ids] = "array of integers, or of such arrays",
        [FieldType.Flag] = "boolean",
        [FieldType.Group] = "object",
        [FieldType.Unused] = "any",
    };

    /// <summary>Gets the value of the header <c>Content-Security-Policy</c>.</summary>
    public static string ContentSecurityPolicy { get; } =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Style)))}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>Returns the page.</summary>
    /// <param name="routes">The routes of the server.</param>
    /// <param name="address">The address that the client used, for the examples. It is not trusted.</param>
    /// <param name="hasKeys">Whether requests need a key.</param>
    public static string Write(IEnumerable<ServerRoute> routes, string address, bool hasKeys)
    {
        address = IsSafe(address) ? address : DefaultAddress;
        var html = new StringBuilder($"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>StellaInterop embedding server</title>\n<style>{Style}</style>\n</head>\n<body>\n");
        _ = html.Append("<h1>StellaInterop embedding server</h1>\n<p><code>GET /openapi.json</code> has the same description for programs.</p>\n");
        foreach (IGrouping<string, ServerRoute> protocol in routes.GroupBy(route => route.Protocol.Name))
        {
            _ = html.Append(CultureInfo.InvariantCulture, $"<h2>{Encode(protocol.Key)}</h2>\n");
            foreach (ServerRoute route in protocol)
            {
                WriteRoute(html, route, address, hasKeys);
            }
        }

        return html.Append("</body>\n</html>\n").ToString();
    }

    private static void WriteRoute(StringBuilder html, ServerRoute route, string address, bool hasKeys)
    {
        string path = route.Path.Replace("{**", "{", StringComparison.Ordinal);
        bool needsKey = hasKeys && route.Access == RouteAccess.Key;
        _ = html.Append(CultureInfo.InvariantCulture, $"<h3>{Encode($"{route.Method} {path}")}</h3>\n<p>{Encode(route.Summary)}{(needsKey ? " Needs a key." : "")}</p>\n");
        if (route.Body is { Count: > 0 } fields)
        {
            _ = html.Append("<table>\n<tr><th>field</th><th>type</th><th>meaning</th></tr>\n");
            WriteFields(html, fields, "");
            _ = html.Append("</table>\n");
        }

        var curl = new StringBuilder($"curl {address}{path.Replace("{", "", StringComparison.Ordinal).Replace("}", "", StringComparison.Ordinal)}");
        if (needsKey)
        {
            _ = curl.Append(" -H 'Authorization: Bearer KEY'");
        }

        if (route.Body is { } body)
        {
            // The writer of JSON escapes the quotation mark of the shell.
            _ = curl.Append(CultureInfo.InvariantCulture, $" -H 'Content-Type: application/json' -d '{GetExample(body)}'");
        }
        else if (route.Method != "GET")
        {
            _ = curl.Append(CultureInfo.InvariantCulture, $" -X {route.Method}");
        }

        _ = html.Append(CultureInfo.InvariantCulture, $"<pre><code>{Encode(curl.ToString())}</code></pre>\n");
    }

    private static void WriteFields(StringBuilder html, IReadOnlyList<IFieldSchema> fields, string prefix)
    {
        foreach (IFieldSchema field in fields)
        {
            string choices = field.Choices is { } names ? $" One of {string.Join(", ", names)}." : "";
            _ = html.Append(
                CultureInfo.InvariantCulture,
                $"<tr><td><code>{Encode(prefix + field.Name)}</code></td><td>{TypeNames[field.Type]}{(field.IsRequired ? ", required" : "")}</td><td>{Encode(field.Description + choices)}</td></tr>\n");
            WriteFields(html, field.Fields, $"{prefix}{field.Name}.");
        }
    }

    /// <summary>Returns a body with the fields that a request must have, and its texts.</summary>
    private static string GetExample(IReadOnlyList<IFieldSchema> fields)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            WriteExample(json, fields);
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void WriteExample(Utf8JsonWriter json, IReadOnlyList<IFieldSchema> fields)
    {
        json.WriteStartObject();
        foreach (IFieldSchema field in fields.Where(field => field.IsRequired || field.Type == FieldType.Texts))
        {
            json.WritePropertyName(field.Name);
            switch (field.Type)
            {
                case FieldType.Group:
                    WriteExample(json, field.Fields);
                    break;
                case FieldType.Ids:
                    json.WriteRawValue("[1,2,3]");
                    break;
                default:
                    json.WriteStringValue("a text");
                    break;
            }
        }

        json.WriteEndObject();
    }

    private static string Encode(string text) => HtmlEncoder.Default.Encode(text);

    /// <summary>Returns whether an address has only characters that are plain in a shell.</summary>
    private static bool IsSafe(string address) =>
        address.All(character => char.IsAsciiLetterOrDigit(character) || character is '.' or ':' or '/' or '-' or '_' or '[' or ']');
}
