using System.Diagnostics;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using StellaInterop.Server.Embedding;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Http;
using StellaInterop.Server.Models;
using StellaInterop.Server.Options;
using StellaInterop.Vectors;

namespace StellaInterop.Server.Protocols;

/// <summary>The protocol of Text Embeddings Inference. It cannot name a model, so the default model answers.</summary>
internal static class Tei
{
    public static Protocol Protocol { get; } = new(
        "tei",
        new Dictionary<ErrorKind, ErrorShape>
        {
            [ErrorKind.InvalidRequest] = new(422, "Validation"),
            [ErrorKind.MalformedBody] = new(400, "Validation"),
            [ErrorKind.EmptyInput] = new(400, "Empty"),
            [ErrorKind.TextTooLong] = new(422, "Validation"),
            [ErrorKind.NotTokenized] = new(422, "Tokenizer"),
            [ErrorKind.UnknownModel] = new(404, "Validation"),
            [ErrorKind.NotSupported] = new(422, "Validation"),
            [ErrorKind.UnknownRoute] = new(404, "Validation"),
            [ErrorKind.WrongMethod] = new(405, "Validation"),
            [ErrorKind.UnsupportedMediaType] = new(415, "Validation"),
            [ErrorKind.BodyTooLarge] = new(413, "Validation"),
            [ErrorKind.BodyTooSlow] = new(408, "Validation"),
            [ErrorKind.InvalidKey] = new(401, "Validation"),
            [ErrorKind.RateLimited] = new(429, "Overloaded"),
            [ErrorKind.Overloaded] = new(429, "Overloaded"),
            [ErrorKind.Unavailable] = new(503, "Unhealthy"),
            [ErrorKind.ForwardFailed] = new(424, "Backend"),
            [ErrorKind.TimedOut] = new(504, "Backend"),
            [ErrorKind.Internal] = new(500, "Backend"),
        },
        WriteError,
        AnswerSchemas.TeiError,
        WantsJson: true);

    public static FieldTable<TeiRequest> EmbedFields { get; } = new(
        Field.Texts<TeiRequest>("inputs", "A text, or an array of texts in any number.", (request, texts) => request.Texts = texts),
        Truncate,
        Direction,
        PromptName,
        Field.Flag<TeiRequest>("normalize", "Whether vectors have length 1; true by default.", (request, normalize) => request.Normalize = normalize),
        Field.Whole<TeiRequest>(
            "dimensions", "The length of the vectors: one of the model's trained heads.", 1, int.MaxValue, (request, dimension) => request.Dimension = dimension));

    public static FieldTable<TeiRequest> EmbedAllFields { get; } = new(
        Field.Texts<TeiRequest>("inputs", "A text, or an array of texts in any number.", (request, texts) => request.Texts = texts),
        Truncate,
        Direction,
        PromptName);

    public static FieldTable<TeiRequest> SimilarityFields { get; } = new(
        Field.Group("inputs", "The texts to compare.", new FieldTable<TeiRequest>(
            Field.Text<TeiRequest>("source_sentence", "The text that the others are compared with.", (request, text) => request.Source = text) with { IsRequired = true },
            Field.Texts<TeiRequest>("sentences", "The other texts.", (request, texts) => request.Texts = texts))) with
        {
            IsRequired = true,
        },
        Field.Group("parameters", "Options of all texts.", new FieldTable<TeiRequest>(Truncate, Direction, PromptName)));

    public static FieldTable<TeiRequest> TokenizeFields { get; } = new(
        Field.Texts<TeiRequest>("inputs", "A text, or an array of texts.", (request, texts) => request.Texts = texts),
        Field.Flag<TeiRequest>("add_special_tokens", "Whether special tokens are included; true by default.", (request, adds) => request.HasSpecialTokens = adds),
        PromptName);

    public static FieldTable<TeiRequest> DecodeFields { get; } = new(
        Field.Ids<TeiRequest>("ids", "Token ids, or an array of arrays of them.", (request, ids) => request.Ids = ids),
        Field.Flag<TeiRequest>("skip_special_tokens", "Whether special tokens are left out; true by default.", (request, skips) => request.SkipsSpecialTokens = skips));

    private static Field<TeiRequest> Truncate => Field.Flag<TeiRequest>(
        "truncate", "Whether a text over the model's limit is cut; true by default.", (request, cuts) => request.Truncates = cuts);

    private static Field<TeiRequest> Direction => Field.Choice<TeiRequest, bool>(
        "truncation_direction", "The side on which a text is cut: Right, the default, for its end; Left for its beginning.", (request, isLeft) => request.CutsStart = isLeft,
        ("Right", false),
        ("Left", true));

    private static Field<TeiRequest> PromptName => Field.Text<TeiRequest>(
        "prompt_name", "The name of a prompt of the model; none by default.", (request, name) => request.Prompt = name.Length == 0 ? StellaPrompt.Document : StellaPrompt.FromName(name));

    public static IReadOnlyList<ServerRoute> Routes { get; } =
    [
        new("POST", "/", Protocol, RouteAccess.Key, "Embeds texts; compares them if inputs is an object.", AnswerRootAsync)
        {
            Body = EmbedFields.Schema,
            AnswerSchema = $$"""{"oneOf":[{{AnswerSchemas.Vectors}},{{AnswerSchemas.Vector}}]}""",
        },
        new("POST", "/embed", Protocol, RouteAccess.Key, "Embeds texts.", EmbedAsync) { Body = EmbedFields.Schema, AnswerSchema = AnswerSchemas.Vectors },
        new("POST", "/embed_all", Protocol, RouteAccess.Key, "Returns the hidden state of each token.", EmbedAllAsync) { Body = EmbedAllFields.Schema, AnswerSchema = AnswerSchemas.TokenVectors },
        new("POST", "/similarity", Protocol, RouteAccess.Key, "Compares a text with others.", CompareAsync) { Body = SimilarityFields.Schema, AnswerSchema = AnswerSchemas.Vector },
        new("POST", "/tokenize", Protocol, RouteAccess.Key, "Tokenizes texts.", TokenizeAsync) { Body = TokenizeFields.Schema, AnswerSchema = AnswerSchemas.TeiTokens },
        new("POST", "/decode", Protocol, RouteAccess.Key, "Returns the text of token ids.", DecodeAsync) { Body = DecodeFields.Schema, AnswerSchema = AnswerSchemas.Texts },
        new("GET", "/info", Protocol, RouteAccess.Key, "Describes the default model.", ShowInfoAsync) { AnswerSchema = AnswerSchemas.TeiInfo },
        new("GET", "/health", Protocol, RouteAccess.Everyone, "Tells whether the default model answers.", CheckHealthAsync),
        new("POST", "/embed_sparse", Protocol, RouteAccess.Key, "Refused: the models have no sparse vectors.", RefuseAsync),
        new("POST", "/predict", Protocol, RouteAccess.Key, "Refused: the models do not classify.", RefuseAsync),
        new("POST", "/rerank", Protocol, RouteAccess.Key, "Refused: the models do not rerank.", RefuseAsync),
    ];

    private static async Task AnswerRootAsync(RequestContext context)
    {
        // The protocol has one route for both tasks, and the shape of the request tells them apart.
        if (IsSimilarity(await context.ReadBodyAsync().ConfigureAwait(false)))
        {
            await CompareAsync(context).ConfigureAwait(false);
        }
        else
        {
            await EmbedAsync(context).ConfigureAwait(false);
        }
    }

    private static async Task EmbedAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, EmbedFields).ConfigureAwait(false);
        context.Report.CharacterCount = request.Texts!.CountCharacters();
        await context.EmbedAsync(request, new ListAnswer()).ConfigureAwait(false);
    }

    private static async Task CompareAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, SimilarityFields).ConfigureAwait(false);
        ServedModel model = context.Models.Default;
        RequestReport report = context.Report;
        report.CharacterCount = Characters.Count(request.Source) + request.Texts!.CountCharacters();
        StellaModelInfo info = await EmbeddingRun.LoadAsync(model, report, context.ClientLeft).ConfigureAwait(false);
        StellaEmbedOptions options = request.GetOptions();
        string text = request.Source!;
        if (request.LongTexts == LongTextRule.CutStart)
        {
            text = await new StartCutter(model.Pool, info, options).CutAsync(text, context.ClientLeft).ConfigureAwait(false);
            report.TruncatedCount += text.Length < request.Source!.Length ? 1 : 0;
        }

        float[] source = new float[info.DefaultDimension];
        var call = new StellaCallOptions { Priority = context.Key?.Priority, FairnessGroup = context.Key?.Name };
        long start = Stopwatch.GetTimestamp();
        StellaCallSummary summary = await model.Pool.EmbedAsync(new[] { text }, source, options, call, context.ClientLeft).ConfigureAwait(false);
        report.Add(summary, Stopwatch.GetElapsedTime(start), isFirstOfModel: false);
        report.TruncatedCount += summary.TruncatedTextCount;
        await context.EmbedAsync(request, new SimilarityAnswer(source)).ConfigureAwait(false);
    }

    private static async Task EmbedAllAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, EmbedAllFields).ConfigureAwait(false);
        ServedModel model = context.Models.Default;
        TextList texts = request.Texts!;
        context.Report.CharacterCount = texts.CountCharacters();
        // Lengths are checked and the first text is computed before the answer begins, so that their errors have a status.
        await EmbeddingRun.CheckLengthsAsync(model, request, context.Report, context.ClientLeft).ConfigureAwait(false);
        StellaModelInfo info = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
        long bytes = (long)EmbeddingRun.BoundHiddenStates(texts, info) * info.HiddenSize * sizeof(float);
        context.Room.Take(bytes);
        try
        {
            await WriteHiddenStatesAsync(context, model, request, info).ConfigureAwait(false);
        }
        finally
        {
            context.Room.Return(bytes);
        }
    }

    private static async Task WriteHiddenStatesAsync(RequestContext context, ServedModel model, TeiRequest request, StellaModelInfo info)
    {
        TextList texts = request.Texts!;
        RequestReport report = context.Report;
        StellaEmbedOptions options = request.GetOptions();
        StartCutter? cutter = request.LongTexts == LongTextRule.CutStart ? new StartCutter(model.Pool, info, options) : null;
        string text = await TakeAsync(0).ConfigureAwait(false);
        long start = Stopwatch.GetTimestamp();
        StellaTokenEmbeddings tokens = await model.Pool.EmbedTokensAsync(text, options, context.ClientLeft).ConfigureAwait(false);
        report.EmbedTime = Stopwatch.GetElapsedTime(start);
        report.TokenCount = tokens.Ids.Length;
        report.HasAllTokens = texts.Count == 1;
        SetHeaders(context, model, ("embed", report.EmbedTime));
        TeiHeaders.Set(context.Http.Response.Headers, report);
        using AnswerWriter writer = await AnswerWriter.StartAsync(context.Http.Response, context.ClientLeft).ConfigureAwait(false);
        writer.Json.WriteStartArray();
        for (int i = 0; ;)
        {
            writer.Json.WriteStartArray();
            for (int token = 0; token < tokens.Ids.Length; token++)
            {
                _ = VectorWriter.Write(writer.Json, tokens.GetHiddenState(token), VectorType.Float, VectorEncoding.Numbers);
                await writer.SendPartAsync().ConfigureAwait(false);
            }

            writer.Json.WriteEndArray();
            i++;
            if (i == texts.Count)
            {
                break;
            }

            text = await TakeAsync(i).ConfigureAwait(false);
            tokens = await PoolCalls.WaitForRoomAsync(() => model.Pool.EmbedTokensAsync(text, options, context.ClientLeft), context.ClientLeft).ConfigureAwait(false);
            report.TokenCount += tokens.Ids.Length;
        }

        writer.Json.WriteEndArray();
        await writer.CompleteAsync().ConfigureAwait(false);

        async ValueTask<string> TakeAsync(int index) =>
            cutter is null ? texts[index] : (await cutter.TakeAsync(texts, index, 1, context.ClientLeft).ConfigureAwait(false))[0];
    }

    private static async Task TokenizeAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, TokenizeFields).ConfigureAwait(false);
        ServedModel model = context.Models.Default;
        StellaModelInfo info = await EmbeddingRun.LoadAsync(model, context.Report, context.ClientLeft).ConfigureAwait(false);
        long start = Stopwatch.GetTimestamp();
        IAsyncEnumerator<TokenPart> parts = new TextTokenizer(model.Pool, info, request.Prompt).ReadAsync(request.Texts!, context.ClientLeft).GetAsyncEnumerator(context.ClientLeft);
        await using (parts.ConfigureAwait(false))
        {
            // The first part is computed before the answer begins, so that its errors have a status.
            bool hasNext = await parts.MoveNextAsync().ConfigureAwait(false);
            SetHeaders(context, model, ("tokenize", Stopwatch.GetElapsedTime(start)));
            using AnswerWriter writer = await AnswerWriter.StartAsync(context.Http.Response, context.ClientLeft).ConfigureAwait(false);
            var tokens = new TeiTokenWriter(writer.Json, model.Vocabulary, request.HasSpecialTokens);
            writer.Json.WriteStartArray();
            while (hasNext)
            {
                tokens.Write(parts.Current);
                context.Report.TokenCount += parts.Current.Ids.Length;
                await writer.SendPartAsync().ConfigureAwait(false);
                hasNext = await parts.MoveNextAsync().ConfigureAwait(false);
            }

            writer.Json.WriteEndArray();
            await writer.CompleteAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Sets the headers of answers that are not vectors of texts.</summary>
    private static void SetHeaders(RequestContext context, ServedModel model, (string Name, TimeSpan Time) phase)
    {
        context.Report.Model = model.Name;
        EmbeddingRun.SetTruncatedHeader(context.Http.Response, context.Report);
        ServerTiming.Set(context.Http.Response, context.Report, phase);
    }

    private static async Task DecodeAsync(RequestContext context)
    {
        TeiRequest request = await context.ReadAsync(DecodeFields).ConfigureAwait(false);
        if (request.Ids is not { Count: > 0 } sequences)
        {
            throw new ServerException(ErrorKind.EmptyInput, "'ids' is empty. Send at least one id.", "ids");
        }

        ServedModel model = context.Models.Default;
        long start = Stopwatch.GetTimestamp();
        Vocabulary vocabulary = model.Vocabulary;
        // All ids are checked and the first text is made before the answer begins, so that their errors have a status.
        foreach (int[] ids in sequences)
        {
            vocabulary.Check(ids);
        }

        string text = vocabulary.Decode(sequences[0], request.SkipsSpecialTokens);
        SetHeaders(context, model, ("decode", Stopwatch.GetElapsedTime(start)));
        using AnswerWriter writer = await AnswerWriter.StartAsync(context.Http.Response, context.ClientLeft).ConfigureAwait(false);
        writer.Json.WriteStartArray();
        for (int i = 0; i < sequences.Count; i++)
        {
            writer.Json.WriteStringValue(i == 0 ? text : vocabulary.Decode(sequences[i], request.SkipsSpecialTokens));
            await writer.SendPartAsync().ConfigureAwait(false);
        }

        writer.Json.WriteEndArray();
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    private static async Task ShowInfoAsync(RequestContext context)
    {
        ServedModel model = context.Models.Default;
        StellaModelInfo info = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
        await context.WriteAsync(json =>
        {
            json.WriteStartObject();
            json.WriteString("model_id", model.Name);
            json.WriteNull("model_sha");
            json.WriteString("model_dtype", info.Precision switch
            {
                StellaPrecision.Float32 => "float32",
                StellaPrecision.BFloat16 => "bfloat16",
                _ => "int8",
            });
            json.WriteString("served_model_name", model.Name);
            json.WriteStartObject("model_type");
            json.WriteStartObject("embedding");
            json.WriteString("pooling", info.PoolingMode switch
            {
                StellaPoolingMode.Cls => "cls",
                StellaPoolingMode.LastToken => "last_token",
                _ => "mean",
            });
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteNumber("max_concurrent_requests", model.PoolOptions.MaxQueuedCalls);
            json.WriteNumber("max_input_length", info.MaxTokens);
            json.WriteNumber("max_batch_tokens", Math.Max(model.PoolOptions.MaxBatchTokens, info.MaxTokens));
            json.WriteNull("max_batch_requests");
            // The protocol has no word for "any number".
            json.WriteNumber("max_client_batch_size", int.MaxValue);
            json.WriteBoolean("auto_truncate", true);
            json.WriteNumber("tokenization_workers", Environment.ProcessorCount);
            json.WriteString("version", ServerVersion.Text);
            json.WriteNull("sha");
            json.WriteNull("docker_label");
            json.WriteStartArray("dimensions");
            foreach (int dimension in info.Dimensions)
            {
                json.WriteNumberValue(dimension);
            }

            json.WriteEndArray();
            json.WriteStartArray("prompts");
            foreach (StellaPromptInfo prompt in info.Prompts)
            {
                json.WriteStringValue(prompt.Name);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }).ConfigureAwait(false);
    }

    private static Task CheckHealthAsync(RequestContext context)
    {
        StellaPoolHealth health = context.Models.Default.Pool.GetHealth();
        return health.Status == StellaPoolStatus.Unhealthy
            ? throw new ServerException(new ServerError(ErrorKind.Unavailable, $"The model {context.Models.Default.Name} does not answer. Try again later.") { RetryAfter = TimeSpan.FromSeconds(5) })
            : Task.CompletedTask;
    }

    private static Task RefuseAsync(RequestContext context) => throw new ServerException(
        ErrorKind.NotSupported, "model is not a model for this route: it makes embeddings. Use /embed or /similarity.");

    private static async Task<TeiRequest> ReadAsync(RequestContext context, FieldTable<TeiRequest> fields)
    {
        TeiRequest request = await context.ReadAsync(fields).ConfigureAwait(false);
        if (request.Texts!.Count == 0)
        {
            throw new ServerException(ErrorKind.EmptyInput, "The request has no text. Send at least one.", "inputs");
        }

        context.Report.TextCount = request.Texts.Count;
        request.LongTexts = !request.Truncates ? LongTextRule.Refuse : request.CutsStart ? LongTextRule.CutStart : LongTextRule.CutEnd;
        return request;
    }

    /// <summary>Returns whether <c>inputs</c> is an object. A damaged body is not: its errors are found when it is read.</summary>
    private static bool IsSimilarity(ReadOnlyMemory<byte> body)
    {
        var reader = new Utf8JsonReader(body.Span);
        try
        {
            bool isObject = false;
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            {
                return false;
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isInputs = FieldName.Is(ref reader, "inputs");
                _ = reader.Read();
                isObject = isInputs ? reader.TokenType == JsonTokenType.StartObject : isObject;
                reader.Skip();
            }

            return isObject;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static void WriteError(Utf8JsonWriter json, ServerError error, ErrorShape shape)
    {
        json.WriteStartObject();
        json.WriteString("error", error.Message);
        json.WriteString("error_type", shape.Type);
        json.WriteEndObject();
    }

    /// <summary>The requests of all routes of the protocol. Each route has the fields of its table.</summary>
    internal sealed class TeiRequest : EmbedRequest
    {
        public string? Source { get; set; }

        public bool Truncates { get; set; } = true;

        public bool CutsStart { get; set; }

        public bool HasSpecialTokens { get; set; } = true;

        public bool SkipsSpecialTokens { get; set; } = true;

        public IReadOnlyList<int[]>? Ids { get; set; }
    }

    private sealed class ListAnswer : IEmbeddingAnswer
    {
        public void SetHeaders(IHeaderDictionary headers, RequestReport report) => TeiHeaders.Set(headers, report);

        public void Begin(Utf8JsonWriter json) => json.WriteStartArray();

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) =>
            _ = VectorWriter.Write(json, vector, VectorType.Float, VectorEncoding.Numbers);

        public void End(Utf8JsonWriter json, RequestReport report) => json.WriteEndArray();
    }

    private sealed class SimilarityAnswer(float[] source) : IEmbeddingAnswer
    {
        public void SetHeaders(IHeaderDictionary headers, RequestReport report) => TeiHeaders.Set(headers, report);

        public void Begin(Utf8JsonWriter json) => json.WriteStartArray();

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) => json.WriteNumberValue(Similarity.Cosine(source, vector));

        public void End(Utf8JsonWriter json, RequestReport report) => json.WriteEndArray();
    }
}
