using System.Text.Json;
using StellaInterop.Server.Embedding;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Models;

namespace StellaInterop.Server.Protocols;

/// <summary>The protocol of OpenAI's embeddings, with this server's extensions.</summary>
internal static class OpenAI
{
    /// <summary>The longest time that a client may set: a day, less a millisecond.</summary>
    private const int MaxTimeoutMilliseconds = (24 * 60 * 60 * 1000) - 1;

    private const string InvalidRequest = "invalid_request_error";
    private const string ServerProblem = "server_error";

    public static Protocol Protocol { get; } = new(
        "openai",
        new Dictionary<ErrorKind, ErrorShape>
        {
            [ErrorKind.InvalidRequest] = new(400, InvalidRequest),
            [ErrorKind.MalformedBody] = new(400, InvalidRequest),
            [ErrorKind.EmptyInput] = new(400, InvalidRequest),
            [ErrorKind.TextTooLong] = new(400, InvalidRequest, "context_length_exceeded"),
            [ErrorKind.NotTokenized] = new(400, InvalidRequest),
            [ErrorKind.UnknownModel] = new(404, InvalidRequest, "model_not_found"),
            [ErrorKind.NotSupported] = new(400, InvalidRequest),
            [ErrorKind.UnknownRoute] = new(404, InvalidRequest, "unknown_url"),
            [ErrorKind.WrongMethod] = new(405, InvalidRequest, "method_not_supported"),
            [ErrorKind.UnsupportedMediaType] = new(415, InvalidRequest, "unsupported_content_type"),
            [ErrorKind.BodyTooLarge] = new(413, InvalidRequest, "request_too_large"),
            [ErrorKind.BodyTooSlow] = new(408, InvalidRequest, "request_timeout"),
            [ErrorKind.InvalidKey] = new(401, "authentication_error", "invalid_api_key"),
            [ErrorKind.RateLimited] = new(429, "rate_limit_error", "rate_limit_exceeded"),
            [ErrorKind.Overloaded] = new(429, "rate_limit_error", "server_overloaded"),
            [ErrorKind.Unavailable] = new(503, ServerProblem, "model_unavailable"),
            [ErrorKind.ForwardFailed] = new(503, ServerProblem, "model_failed"),
            [ErrorKind.TimedOut] = new(504, ServerProblem, "timeout"),
            [ErrorKind.Internal] = new(500, ServerProblem, "internal_error"),
        },
        WriteError,
        AnswerSchemas.OpenAIError,
        WantsJson: true);

    /// <summary>The fields of a request for embeddings. The fields after <c>user</c> are extensions of this server.</summary>
    public static FieldTable<EmbedRequest> EmbeddingFields { get; } = new(
        Field.Texts<EmbedRequest>("input", "A text, or an array of texts in any number.", (request, texts) => request.Texts = texts),
        Field.Text<EmbedRequest>("model", "The name of a model; the first model of the server by default.", (request, name) => request.Model = name),
        Field.Choice<EmbedRequest, VectorEncoding>(
            "encoding_format", "float for arrays of numbers, the default, or base64 for their bytes, little-endian.", (request, encoding) => request.VectorEncoding = encoding,
            ("float", VectorEncoding.Numbers),
            ("base64", VectorEncoding.Base64)),
        Field.Whole<EmbedRequest>(
            "dimensions", "The length of the vectors: one of the model's trained heads.", 1, int.MaxValue, (request, dimension) => request.Dimension = dimension),
        Field.Note<EmbedRequest>("user", "The end user; without effect."),
        Field.Choice<EmbedRequest, StellaPrompt>(
            "input_type", "The purpose of the texts: document, the default; query; similarity; or none. The words of Cohere, Voyage and Jina are accepted too.",
            (request, prompt) => request.Prompt = prompt,
            ("document", StellaPrompt.Document),
            ("query", StellaPrompt.SearchQuery),
            ("similarity", StellaPrompt.SentenceSimilarity),
            ("none", StellaPrompt.Document),
            ("search_document", StellaPrompt.Document),
            ("search_query", StellaPrompt.SearchQuery),
            ("retrieval.passage", StellaPrompt.Document),
            ("retrieval.query", StellaPrompt.SearchQuery),
            ("text-matching", StellaPrompt.SentenceSimilarity)),
        Field.Choice<EmbedRequest, LongTextRule>(
            "truncate", "none refuses a text over the model's limit, the default; end cuts its end; start cuts its beginning.", (request, rule) => request.LongTexts = rule,
            ("none", LongTextRule.Refuse),
            ("end", LongTextRule.CutEnd),
            ("start", LongTextRule.CutStart)),
        Field.Choice<EmbedRequest, VectorType>(
            "output_dtype", "The type of the numbers; float by default. int8 and uint8 have a scale beside each vector.", (request, type) => request.VectorType = type,
            ("float", VectorType.Float),
            ("half", VectorType.Half),
            ("int8", VectorType.Int8),
            ("uint8", VectorType.Uint8),
            ("binary", VectorType.Binary),
            ("ubinary", VectorType.Ubinary)),
        Field.Flag<EmbedRequest>(
            "late_chunking", "Whether the texts are parts of one text, each embedded in the context of the whole; false by default.",
            (request, isLateChunking) => request.IsLateChunking = isLateChunking),
        Field.Choice<EmbedRequest, StellaPriority>(
            "priority", "interactive or bulk. By default a request of more than one batch is bulk.", (request, priority) => request.Priority = priority,
            ("interactive", StellaPriority.Interactive),
            ("bulk", StellaPriority.Bulk)),
        Field.Whole<EmbedRequest>(
            "timeout_ms", "The time until the end of the answer in milliseconds; no limit by default.", 1, MaxTimeoutMilliseconds,
            (request, milliseconds) => request.Timeout = TimeSpan.FromMilliseconds(milliseconds)));

    public static IReadOnlyList<ServerRoute> Routes { get; } =
    [
        new("POST", "/v1/embeddings", Protocol, RouteAccess.Key, "Embeds texts.", EmbedAsync) { Body = EmbeddingFields.Schema, AnswerSchema = AnswerSchemas.OpenAIEmbeddings },
        new("GET", "/v1/models", Protocol, RouteAccess.Key, "Lists the models.", ListModelsAsync) { AnswerSchema = AnswerSchemas.OpenAIModels },
        // The name may have a slash.
        new("GET", "/v1/models/{**model}", Protocol, RouteAccess.Key, "Describes a model.", ShowModelAsync) { AnswerSchema = AnswerSchemas.OpenAIModel },
    ];

    private static async Task EmbedAsync(RequestContext context)
    {
        EmbedRequest request = await context.ReadAsync(EmbeddingFields).ConfigureAwait(false);
        if (request.Texts!.Count == 0)
        {
            throw new ServerException(ErrorKind.EmptyInput, "'input' is an empty array. Send at least one text.", "input");
        }

        if (request is { IsLateChunking: true, LongTexts: LongTextRule.CutStart })
        {
            throw new ServerException(
                ErrorKind.InvalidRequest, "'truncate' is start, and with late chunking the first texts would have no vector. Use none or end.", "truncate");
        }

        string model = context.Models.Get(request.Model).Name;
        await context.EmbedAsync(request, new EmbeddingAnswer(request, model)).ConfigureAwait(false);
    }

    private static Task ListModelsAsync(RequestContext context) => context.WriteAsync(json =>
    {
        json.WriteStartObject();
        json.WriteString("object", "list");
        json.WriteStartArray("data");
        foreach (ServedModel model in context.Models.All)
        {
            WriteModel(json, model);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static Task ShowModelAsync(RequestContext context)
    {
        // The web server leaves an encoded slash as it is, and some clients encode the name.
        string? name = ((string?)context.Http.Request.RouteValues["model"])?.Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
        ServedModel model = context.Models.Get(name);
        return context.WriteAsync(json => WriteModel(json, model));
    }

    private static void WriteModel(Utf8JsonWriter json, ServedModel model)
    {
        json.WriteStartObject();
        json.WriteString("id", model.Name);
        json.WriteString("object", "model");
        json.WriteNumber("created", model.Created.ToUnixTimeSeconds());
        json.WriteString("owned_by", model.Owner);
        json.WriteString("state", model.State);
        json.WriteEndObject();
    }

    private static void WriteError(Utf8JsonWriter json, ServerError error, ErrorShape shape)
    {
        json.WriteStartObject();
        json.WriteStartObject("error");
        json.WriteString("message", error.Message);
        json.WriteString("type", shape.Type);
        json.WriteString("param", error.Field);
        json.WriteString("code", shape.Code);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private sealed class EmbeddingAnswer(EmbedRequest request, string model) : IEmbeddingAnswer
    {
        public void Begin(Utf8JsonWriter json)
        {
            json.WriteStartObject();
            json.WriteString("object", "list");
            json.WriteStartArray("data");
        }

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector)
        {
            json.WriteStartObject();
            json.WriteString("object", "embedding");
            json.WriteNumber("index", index);
            VectorWriter.WriteProperty(json, "embedding", vector, request.VectorType, request.VectorEncoding);
            json.WriteEndObject();
        }

        public void End(Utf8JsonWriter json, RequestReport report)
        {
            json.WriteEndArray();
            json.WriteString("model", model);
            json.WriteStartObject("usage");
            json.WriteNumber("prompt_tokens", report.TokenCount);
            json.WriteNumber("total_tokens", report.TokenCount);
            json.WriteEndObject();
            if (report.TruncatedCount > 0)
            {
                json.WriteNumber("truncated", report.TruncatedCount);
            }

            json.WriteEndObject();
        }
    }
}
