using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Embedding;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Models;
using StellaInterop.Server.Options;

namespace StellaInterop.Server.Protocols;

/// <summary>The protocol of Ollama, as far as it concerns embeddings.</summary>
internal static class Ollama
{
    /// <summary>The number of nanoseconds of a tick; the protocol counts times in nanoseconds.</summary>
    private const long NanosecondsPerTick = 100;

    /// <summary>Ollama gives a model that stays in memory a time of expiry about this far away. Models of this server have none.</summary>
    private const int YearsOfStay = 292;

    public static Protocol Protocol { get; } = new(
        "ollama",
        new Dictionary<ErrorKind, ErrorShape>
        {
            [ErrorKind.InvalidRequest] = new(400),
            [ErrorKind.MalformedBody] = new(400),
            [ErrorKind.EmptyInput] = new(400),
            [ErrorKind.TextTooLong] = new(400),
            [ErrorKind.NotTokenized] = new(400),
            [ErrorKind.UnknownModel] = new(404),
            [ErrorKind.NotSupported] = new(400),
            [ErrorKind.UnknownRoute] = new(404),
            [ErrorKind.WrongMethod] = new(405),
            [ErrorKind.UnsupportedMediaType] = new(415),
            [ErrorKind.BodyTooLarge] = new(413),
            [ErrorKind.BodyTooSlow] = new(408),
            [ErrorKind.InvalidKey] = new(401),
            [ErrorKind.RateLimited] = new(429),
            [ErrorKind.Overloaded] = new(503),
            [ErrorKind.Unavailable] = new(503),
            [ErrorKind.ForwardFailed] = new(503),
            [ErrorKind.TimedOut] = new(504),
            [ErrorKind.Internal] = new(500),
        },
        static (json, error, _) =>
        {
            json.WriteStartObject();
            json.WriteString("error", error.Message);
            json.WriteEndObject();
        },
        AnswerSchemas.OllamaError,
        // curl sends a form's content type, and the examples of Ollama do not set another.
        WantsJson: false);

    public static FieldTable<OllamaRequest> EmbedFields { get; } = new(
        Field.Text<OllamaRequest>("model", "The name of a model; the first model of the server by default.", (request, name) => request.Model = name),
        Field.Texts<OllamaRequest>("input", "A text, or an array of texts in any number.", (request, texts) => request.Texts = texts) with { IsRequired = false },
        Field.Flag<OllamaRequest>(
            "truncate", "Whether a text over the model's limit is cut; true by default.", (request, cuts) => request.LongTexts = cuts ? LongTextRule.CutEnd : LongTextRule.Refuse),
        Field.Whole<OllamaRequest>(
            "dimensions", "The length of the vectors: one of the model's trained heads; 0 for its default.", 0, int.MaxValue,
            (request, dimension) => request.Dimension = dimension == 0 ? null : dimension),
        KeepAlive,
        RunnerOptions);

    public static FieldTable<OllamaRequest> EmbeddingsFields { get; } = new(
        Field.Text<OllamaRequest>("model", "The name of a model; the first model of the server by default.", (request, name) => request.Model = name),
        Field.Texts<OllamaRequest>("prompt", "A text.", (request, texts) => request.Texts = texts) with { IsRequired = false },
        KeepAlive,
        RunnerOptions);

    public static FieldTable<OllamaRequest> ShowFields { get; } = new(
        Field.Text<OllamaRequest>("model", "The name of a model; the first model of the server by default.", (request, name) => request.Model = name),
        Field.Text<OllamaRequest>("name", "The older name of the field model.", (request, name) => request.Model ??= name),
        Field.Unused<OllamaRequest>("verbose", "Listed as ignored: the answer always has the same fields."));

    private static Field<OllamaRequest> KeepAlive =>
        Field.Unused<OllamaRequest>("keep_alive", "Listed as ignored: the memory budget decides when a model is unloaded.");

    private static Field<OllamaRequest> RunnerOptions => Field.Unused<OllamaRequest>("options", "Listed as ignored: the options of the server apply.");

    public static IReadOnlyList<ServerRoute> Routes { get; } =
    [
        new("POST", "/api/embed", Protocol, RouteAccess.Key, "Embeds texts.", EmbedAsync) { Body = EmbedFields.Schema, AnswerSchema = AnswerSchemas.OllamaEmbed },
        new("POST", "/api/embeddings", Protocol, RouteAccess.Key, "Embeds one text.", EmbedOneAsync) { Body = EmbeddingsFields.Schema, AnswerSchema = AnswerSchemas.OllamaEmbeddings },
        new("GET", "/api/tags", Protocol, RouteAccess.Key, "Lists the models.", ListAsync) { AnswerSchema = AnswerSchemas.OllamaTags },
        new("GET", "/api/ps", Protocol, RouteAccess.Key, "Lists the models that are in memory.", ListLoadedAsync) { AnswerSchema = AnswerSchemas.OllamaLoaded },
        new("POST", "/api/show", Protocol, RouteAccess.Key, "Describes a model.", ShowAsync) { Body = ShowFields.Schema, AnswerSchema = AnswerSchemas.OllamaShow },
        new("GET", "/", Protocol, RouteAccess.Everyone, "Describes the API to a browser, and tells clients that the server runs, in the words of Ollama.", ShowRootAsync)
        {
            // Most applications have a home page of their own.
            Order = 1,
        },
        new("GET", "/api/version", Protocol, RouteAccess.Key, "Returns the version of the server.", ShowVersionAsync) { AnswerSchema = AnswerSchemas.OllamaVersion },
    ];

    private static async Task EmbedAsync(RequestContext context)
    {
        OllamaRequest request = await context.ReadAsync(EmbedFields).ConfigureAwait(false);
        ServedModel model = Get(context, request);
        string name = request.Model ?? model.Name;
        // As in Ollama, no text and one empty text load the model.
        if (request.Texts is null or { Count: 0 } || (request.Texts.IsSingle && request.Texts.GetByteLength(0) == 0))
        {
            _ = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
            await context.WriteAsync(json =>
            {
                json.WriteStartObject();
                json.WriteString("model", name);
                json.WriteStartArray("embeddings");
                json.WriteEndArray();
                json.WriteEndObject();
            }).ConfigureAwait(false);
            return;
        }

        await context.EmbedAsync(request, new ListAnswer(name)).ConfigureAwait(false);
    }

    private static async Task EmbedOneAsync(RequestContext context)
    {
        OllamaRequest request = await context.ReadAsync(EmbeddingsFields).ConfigureAwait(false);
        ServedModel model = Get(context, request);
        if (request.Texts is { IsSingle: false })
        {
            throw new ServerException(ErrorKind.InvalidRequest, "'prompt' must be one text. Use /api/embed for several.", "prompt");
        }

        if (request.Texts is null || request.Texts.GetByteLength(0) == 0)
        {
            _ = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
            await context.WriteAsync(json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("embedding");
                json.WriteEndArray();
                json.WriteEndObject();
            }).ConfigureAwait(false);
            return;
        }

        await context.EmbedAsync(request, new SingleAnswer()).ConfigureAwait(false);
    }

    private static Task ListAsync(RequestContext context) => context.WriteAsync(json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("models");
        foreach (ServedModel model in context.Models.All)
        {
            json.WriteStartObject();
            WriteNames(json, model);
            json.WriteString("modified_at", FormatTime(model.Created));
            json.WriteNumber("size", model.SizeBytes);
            json.WriteString("digest", model.Digest);
            WriteDetails(json, model);
            json.WriteString("state", model.State);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static Task ListLoadedAsync(RequestContext context) => context.WriteAsync(json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("models");
        foreach (ServedModel model in context.Models.All)
        {
            if (model.Pool.GetHealth().ModelState != StellaPoolModelState.Loaded || model.Pool.Info is not { } info)
            {
                continue;
            }

            json.WriteStartObject();
            WriteNames(json, model);
            json.WriteNumber("size", info.MemoryEstimateBytes);
            json.WriteString("digest", model.Digest);
            WriteDetails(json, model);
            json.WriteString("expires_at", FormatTime(DateTimeOffset.UtcNow.AddYears(YearsOfStay)));
            json.WriteNumber("size_vram", 0);
            json.WriteNumber("context_length", info.MaxTokens);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static async Task ShowAsync(RequestContext context)
    {
        OllamaRequest request = await context.ReadAsync(ShowFields).ConfigureAwait(false);
        ServedModel model = Get(context, request);
        StellaModelInfo info = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
        await context.WriteAsync(json =>
        {
            json.WriteStartObject();
            json.WriteString("modified_at", FormatTime(model.Created));
            json.WriteString("license", model.License);
            json.WriteString("modelfile", $"FROM {model.Name}\n");
            // The model completes no text, so it has no parameters, no template and no system prompt.
            json.WriteString("parameters", "");
            json.WriteString("template", "");
            json.WriteString("system", "");
            WriteDetails(json, model);
            json.WriteStartObject("model_info");
            json.WriteString("general.architecture", "stella");
            json.WriteNumber("general.parameter_count", info.ParameterCount);
            json.WriteNumber("stella.context_length", info.MaxTokens);
            json.WriteNumber("stella.embedding_length", info.DefaultDimension);
            json.WriteNumber("stella.block_count", info.LayerCount);
            json.WriteEndObject();
            json.WriteStartArray("capabilities");
            json.WriteStringValue("embedding");
            json.WriteEndArray();
            json.WriteEndObject();
        }).ConfigureAwait(false);
    }

    private static Task ShowRootAsync(RequestContext context)
    {
        context.Http.Response.Headers.AppendCommaSeparatedValues("Vary", "Accept");
        if (context.Http.Request.GetTypedHeaders().Accept.Any(type => type.MediaType == "text/html" && type.Quality != 0))
        {
            return Operations.ShowPageAsync(context);
        }

        context.Http.Response.ContentType = "text/plain; charset=utf-8";
        return context.Http.Response.WriteAsync("Ollama is running", context.ClientLeft);
    }

    private static Task ShowVersionAsync(RequestContext context) => context.WriteAsync(json =>
    {
        json.WriteStartObject();
        json.WriteString("version", ServerVersion.Text);
        json.WriteEndObject();
    });

    /// <summary>Returns the model of a request, or refuses it in Ollama's words, which clients compare.</summary>
    private static ServedModel Get(RequestContext context, OllamaRequest request)
    {
        try
        {
            return context.Models.Get(request.Model);
        }
        catch (ServerException e) when (e.Error.Kind == ErrorKind.UnknownModel)
        {
            string name = Printable.Line(request.Model!.Length > 100 ? request.Model[..100] : request.Model);
            throw new ServerException(
                new ServerError(ErrorKind.UnknownModel, $"model '{name}' not found. This server has {string.Join(", ", context.Models.All.Select(model => model.Name))}.") { Field = "model" }, e);
        }
    }

    private static void WriteNames(Utf8JsonWriter json, ServedModel model)
    {
        json.WriteString("name", model.Name + ModelRegistry.DefaultTag);
        json.WriteString("model", model.Name + ModelRegistry.DefaultTag);
    }

    private static void WriteDetails(Utf8JsonWriter json, ServedModel model)
    {
        json.WriteStartObject("details");
        json.WriteString("parent_model", "");
        json.WriteString("format", "safetensors");
        json.WriteString("family", "stella");
        json.WriteStartArray("families");
        json.WriteStringValue("stella");
        json.WriteEndArray();
        json.WriteString("parameter_size", model.Pool.Info is { } info ? ServedModel.FormatParameters(info.ParameterCount) : "");
        json.WriteString("quantization_level", model.Pool.Info?.Precision switch
        {
            null => "",
            StellaPrecision.Float32 => "F32",
            StellaPrecision.BFloat16 => "BF16",
            _ => "INT8",
        });
        json.WriteEndObject();
    }

    private static string FormatTime(DateTimeOffset time) => time.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);

    internal sealed class OllamaRequest : EmbedRequest
    {
        public OllamaRequest() => LongTexts = LongTextRule.CutEnd;
    }

    private sealed class ListAnswer(string name) : IEmbeddingAnswer
    {
        public void Begin(Utf8JsonWriter json)
        {
            json.WriteStartObject();
            json.WriteString("model", name);
            json.WriteStartArray("embeddings");
        }

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) =>
            _ = VectorWriter.Write(json, vector, VectorType.Float, VectorEncoding.Numbers);

        public void End(Utf8JsonWriter json, RequestReport report)
        {
            json.WriteEndArray();
            json.WriteNumber("total_duration", report.Elapsed.Ticks * NanosecondsPerTick);
            json.WriteNumber("load_duration", report.LoadTime.Ticks * NanosecondsPerTick);
            json.WriteNumber("prompt_eval_count", report.TokenCount);
            if (report.TruncatedCount > 0)
            {
                json.WriteNumber("truncated", report.TruncatedCount);
            }

            json.WriteEndObject();
        }
    }

    private sealed class SingleAnswer : IEmbeddingAnswer
    {
        public void Begin(Utf8JsonWriter json) => json.WriteStartObject();

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) =>
            VectorWriter.WriteProperty(json, "embedding", vector, VectorType.Float, VectorEncoding.Numbers);

        public void End(Utf8JsonWriter json, RequestReport report)
        {
            if (report.TruncatedCount > 0)
            {
                json.WriteNumber("truncated", report.TruncatedCount);
            }

            json.WriteEndObject();
        }
    }
}
