using System.Text.Json;
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
            [ErrorKind.UnknownModel] = new(404, "Validation"),
            [ErrorKind.NotSupported] = new(422, "Validation"),
            [ErrorKind.NotTokenized] = new(422, "Tokenizer"),
            [ErrorKind.UnknownRoute] = new(404, "Validation"),
            [ErrorKind.WrongMethod] = new(405, "Validation"),
            [ErrorKind.UnsupportedMediaType] = new(415, "Validation"),
            [ErrorKind.BodyTooLarge] = new(413, "Validation"),
            [ErrorKind.BodyTooSlow] = new(408, "Validation"),
            [ErrorKind.InvalidKey] = new(401, "Validation"),
            [ErrorKind.RateLimited] = new(429, "Overloaded"),
            [ErrorKind.Overloaded] = new(429, "Overloaded"),
            [ErrorKind.Unavailable] = new(503, "Unhealthy"),
            [ErrorKind.TimedOut] = new(504, "Backend"),
            [ErrorKind.Internal] = new(500, "Backend"),
            [ErrorKind.ForwardFailed] = new(424, "Backend"),
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
        "truncate", "Whether a text over the model's limit is cut; true by default.", (request, cuts) => request.LongTexts = cuts ? LongTextRule.CutEnd : LongTextRule.Refuse);

    private static Field<TeiRequest> Direction => Field.Choice<TeiRequest, bool>(
        "truncation_direction", "The end of a text that is cut. Only Right, the default, is supported.", (request, isLeft) => request.CutsStart = isLeft,
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
        await context.EmbedAsync(request, new ListAnswer()).ConfigureAwait(false);
    }

    private static async Task CompareAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, SimilarityFields).ConfigureAwait(false);
        ServedModel model = context.Models.Default;
        StellaTokenCount[] counts = new StellaTokenCount[1];
        StellaModelInfo info = await model.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
        float[] source = new float[info.DefaultDimension];
        _ = await model.Pool.EmbedAsync(new[] { request.Source! }, source, counts, request.GetOptions(), null, context.ClientLeft).ConfigureAwait(false);
        context.Report.TruncatedCount = counts[0].IsTruncated ? 1 : 0;
        context.Report.TokenCount = counts[0].Kept;
        await context.EmbedAsync(request, new SimilarityAnswer(source)).ConfigureAwait(false);
    }

    private static async Task EmbedAllAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, EmbedAllFields).ConfigureAwait(false);
        StellaEmbeddingPool pool = context.Models.Default.Pool;
        TextList texts = request.Texts!;
        StellaEmbedOptions options = request.GetOptions();
        // Lengths are checked and the first text is computed before the answer begins, so that their errors have a status.
        await EmbeddingRun.CheckLengthsAsync(context.Models.Default, request, context.Report, context.ClientLeft).ConfigureAwait(false);
        StellaModelInfo info = await context.Models.Default.GetInfoAsync(context.ClientLeft).ConfigureAwait(false);
        long bytes = (long)EmbeddingRun.BoundHiddenStates(texts, info) * info.HiddenSize * sizeof(float);
        context.Room.Take(bytes);
        try
        {
            await WriteHiddenStatesAsync(context, pool, texts, options).ConfigureAwait(false);
        }
        finally
        {
            context.Room.Return(bytes);
        }
    }

    private static async Task WriteHiddenStatesAsync(RequestContext context, StellaEmbeddingPool pool, TextList texts, StellaEmbedOptions options)
    {
        StellaTokenEmbeddings tokens = await pool.EmbedTokensAsync(texts[0], options, context.ClientLeft).ConfigureAwait(false);
        context.Report.Model = context.Models.Default.Name;
        context.Report.TextCount = texts.Count;
        EmbeddingRun.SetTruncatedHeader(context.Http.Response, context.Report);
        using AnswerWriter writer = await AnswerWriter.StartAsync(context.Http.Response, context.ClientLeft).ConfigureAwait(false);
        writer.Json.WriteStartArray();
        for (int i = 0; i < texts.Count; i++)
        {
            tokens = i == 0 ? tokens : await WaitForRoomAsync(() => pool.EmbedTokensAsync(texts[i], options, context.ClientLeft), context.ClientLeft).ConfigureAwait(false);
            context.Report.TokenCount += tokens.Ids.Length;
            writer.Json.WriteStartArray();
            for (int token = 0; token < tokens.Ids.Length; token++)
            {
                _ = VectorWriter.Write(writer.Json, tokens.GetHiddenState(token), VectorType.Float, VectorEncoding.Numbers);
                await writer.SendPartAsync().ConfigureAwait(false);
            }

            writer.Json.WriteEndArray();
        }

        writer.Json.WriteEndArray();
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    private static async Task TokenizeAsync(RequestContext context)
    {
        TeiRequest request = await ReadAsync(context, TokenizeFields).ConfigureAwait(false);
        ServedModel model = context.Models.Default;
        TextList texts = request.Texts!;
        StellaEmbedOptions options = request.GetOptions();
        // A text over the limit is cut here too, so the answer must say it.
        await EmbeddingRun.CheckLengthsAsync(model, request, context.Report, context.ClientLeft).ConfigureAwait(false);
        EmbeddingRun.SetTruncatedHeader(context.Http.Response, context.Report);
        StellaTokens tokens = await model.Pool.TokenizeWithOffsetsAsync(texts[0], options, context.ClientLeft).ConfigureAwait(false);
        using AnswerWriter writer = await AnswerWriter.StartAsync(context.Http.Response, context.ClientLeft).ConfigureAwait(false);
        writer.Json.WriteStartArray();
        for (int i = 0; i < texts.Count; i++)
        {
            tokens = i == 0 ? tokens : await WaitForRoomAsync(() => model.Pool.TokenizeWithOffsetsAsync(texts[i], options, context.ClientLeft), context.ClientLeft).ConfigureAwait(false);
            WriteTokens(writer.Json, model.Vocabulary, texts[i], tokens, request.HasSpecialTokens);
            await writer.SendPartAsync().ConfigureAwait(false);
        }

        writer.Json.WriteEndArray();
        await writer.CompleteAsync().ConfigureAwait(false);
    }

    /// <summary>Repeats a call of the pool until it is not refused: an answer that has begun must not end halfway.</summary>
    private static async Task<T> WaitForRoomAsync<T>(Func<Task<T>> call, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (StellaOverloadedException e)
            {
                await Task.Delay(e.RetryAfter ?? TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static void WriteTokens(Utf8JsonWriter json, Vocabulary vocabulary, string text, StellaTokens tokens, bool hasSpecialTokens)
    {
        json.WriteStartArray();
        int passed = 0;
        int characters = 0;
        for (int i = 0; i < tokens.Ids.Length; i++)
        {
            int id = tokens.Ids.Span[i];
            StellaTokenOffset offset = tokens.Offsets.Span[i];
            // The token of an unknown word comes from the text, so it is not special.
            bool isSpecial = offset.IsEmpty && vocabulary.IsSpecial(id);
            if (isSpecial && !hasSpecialTokens)
            {
                continue;
            }

            json.WriteStartObject();
            json.WriteNumber("id", id);
            json.WriteString("text", offset.IsEmpty ? vocabulary.GetToken(id) : text[offset.Start..offset.End]);
            json.WriteBoolean("special", isSpecial);
            if (offset.IsEmpty)
            {
                json.WriteNull("start");
                json.WriteNull("stop");
            }
            else
            {
                // The protocol counts characters and not UTF-16 units.
                characters += CountCharacters(text.AsSpan(Math.Min(passed, offset.Start)..offset.Start));
                passed = offset.Start;
                json.WriteNumber("start", characters);
                json.WriteNumber("stop", characters + CountCharacters(text.AsSpan(offset.Start..offset.End)));
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static int CountCharacters(ReadOnlySpan<char> text)
    {
        int count = 0;
        foreach (System.Text.Rune _ in text.EnumerateRunes())
        {
            count++;
        }

        return count;
    }

    private static async Task DecodeAsync(RequestContext context)
    {
        TeiRequest request = await context.ReadAsync(DecodeFields).ConfigureAwait(false);
        if (request.Ids is not { Count: > 0 } sequences)
        {
            throw new ServerException(ErrorKind.EmptyInput, "'ids' is empty. Send at least one id.", "ids");
        }

        Vocabulary vocabulary = context.Models.Default.Vocabulary;
        string[] texts = [.. sequences.Select(ids => vocabulary.Decode(ids, request.SkipsSpecialTokens))];
        await context.WriteAsync(json =>
        {
            json.WriteStartArray();
            Array.ForEach(texts, json.WriteStringValue);
            json.WriteEndArray();
        }).ConfigureAwait(false);
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

        return request.CutsStart && request.LongTexts == LongTextRule.CutEnd
            ? throw new ServerException(ErrorKind.InvalidRequest, "'truncation_direction' is Left, which is not supported. Use Right.", "truncation_direction")
            : request;
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
        public TeiRequest() => LongTexts = LongTextRule.CutEnd;

        public string? Source { get; set; }

        public bool CutsStart { get; set; }

        public bool HasSpecialTokens { get; set; } = true;

        public bool SkipsSpecialTokens { get; set; } = true;

        public IReadOnlyList<int[]>? Ids { get; set; }
    }

    private sealed class ListAnswer : IEmbeddingAnswer
    {
        public void Begin(Utf8JsonWriter json) => json.WriteStartArray();

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) =>
            _ = VectorWriter.Write(json, vector, VectorType.Float, VectorEncoding.Numbers);

        public void End(Utf8JsonWriter json, RequestReport report) => json.WriteEndArray();
    }

    private sealed class SimilarityAnswer(float[] source) : IEmbeddingAnswer
    {
        public void Begin(Utf8JsonWriter json) => json.WriteStartArray();

        public void Write(Utf8JsonWriter json, int index, ReadOnlySpan<float> vector) => json.WriteNumberValue(Similarity.Cosine(source, vector));

        public void End(Utf8JsonWriter json, RequestReport report) => json.WriteEndArray();
    }
}
