using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;
using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>The protocol of OpenAI.</summary>
internal sealed class OpenAITests
{
    private const string Path = "/v1/embeddings";

    /// <summary>More words than the small model takes tokens.</summary>
    private RunningServer server = null!;

    [OneTimeSetUp]
    public async Task Start() => server = await RunningServer.StartAsync(options =>
    {
        options.Models.Add(new StellaServedModelOptions { Name = "tiny", Path = Fixtures.Model("tiny-new") });
        options.Models.Add(new StellaServedModelOptions { Name = "org/other", Path = Fixtures.Model("tiny-qwen2") });
    });

    [OneTimeTearDown]
    public async Task Stop() => await server.DisposeAsync();

    [Test]
    public async Task Numbers_are_the_vectors_of_the_pool()
    {
        string[] texts = ["one text", "another \"text\" with é and \n"];
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", texts, new() { Prompt = StellaPrompt.Document });

        ServerAnswer answer = await server.PostAsync(Path, new { input = texts, model = "tiny" });

        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        JsonElement json = answer.Json;
        Assert.That(json.GetProperty("object").GetString(), Is.EqualTo("list"));
        Assert.That(json.GetProperty("model").GetString(), Is.EqualTo("tiny"));
        Assert.That(json.GetProperty("usage").GetProperty("prompt_tokens").GetInt32(), Is.EqualTo(json.GetProperty("usage").GetProperty("total_tokens").GetInt32()).And.GreaterThan(4));
        JsonElement[] data = [.. json.GetProperty("data").EnumerateArray()];
        Assert.That(data.Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(new[] { 0, 1 }));
        Assert.That(data.Select(row => row.GetProperty("object").GetString()), Is.All.EqualTo("embedding"));
        Assert.That(data.Select(Numbers), Is.EqualTo(expected));
    }

    [Test]
    public async Task Base64_has_the_bits_of_the_pool()
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a query"], new() { Prompt = StellaPrompt.SearchQuery });
        ServerAnswer answer = await server.PostAsync(Path, new { input = "a query", encoding_format = "base64", input_type = "query" });
        Assert.That(Bytes(answer, 0), Is.EqualTo(MemoryMarshal.AsBytes(expected[0].AsSpan()).ToArray()));
    }

    [Test]
    public async Task Many_texts_are_answered_in_their_order()
    {
        string[] texts = [.. Enumerable.Range(0, 1000).Select(i => $"text {i % 300}")];
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", texts);

        ServerAnswer answer = await server.PostAsync(Path, new { input = texts, encoding_format = "base64" });

        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        Assert.That(answer.Json.GetProperty("data").GetArrayLength(), Is.EqualTo(texts.Length));
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.That(Bytes(answer, i), Is.EqualTo(MemoryMarshal.AsBytes(expected[i].AsSpan()).ToArray()), $"{i}");
        }
    }

    [Test]
    public async Task A_dimension_selects_a_trained_head()
    {
        StellaModelInfo info = Info("tiny-new");
        int dimension = info.Dimensions.First(each => each != info.DefaultDimension);
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["text"], new() { Dimension = dimension });
        ServerAnswer answer = await server.PostAsync(Path, new { input = "text", dimensions = dimension });
        Assert.That(Numbers(answer.Json.GetProperty("data")[0]), Is.EqualTo(expected[0]));
    }

    [Test]
    public async Task A_dimension_without_a_head_is_refused_with_the_heads()
    {
        ServerAnswer answer = await server.PostAsync(Path, new { input = "text", dimensions = 7 });
        JsonElement error = Error(answer, HttpStatusCode.BadRequest, "invalid_request_error", null);
        Assert.That(error.GetProperty("param").GetString(), Is.EqualTo("dimensions"));
        foreach (int dimension in Info("tiny-new").Dimensions)
        {
            Assert.That(error.GetProperty("message").GetString(), Does.Contain(dimension.ToString(CultureInfo.InvariantCulture)));
        }
    }

    [TestCase(1)]
    [TestCase(200)]
    public async Task A_text_over_the_limit_is_refused_unless_it_may_be_cut(int count)
    {
        string[] texts = [.. Enumerable.Repeat("short", count - 1), RunningServer.LongText];
        ServerAnswer refused = await server.PostAsync(Path, new { input = texts });
        JsonElement error = Error(refused, HttpStatusCode.BadRequest, "invalid_request_error", "context_length_exceeded");
        Assert.That(error.GetProperty("message").GetString(), Does.Contain($"ext {count - 1}").And.Contains("2002"));

        ServerAnswer cut = await server.PostAsync(Path, new { input = texts, truncate = "end" });
        Assert.That(cut.Status, Is.EqualTo(HttpStatusCode.OK), cut.Body);
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));
        Assert.That(cut.Json.GetProperty("truncated").GetInt32(), Is.EqualTo(1));
    }

    [TestCase(1)]
    [TestCase(200)]
    public async Task The_beginning_of_a_text_may_be_cut(int count)
    {
        const string end = "a different end";
        string text = $"{RunningServer.LongText} {end}";
        string[] texts = [.. Enumerable.Repeat("short", count - 1), text];
        ServerAnswer cut = await server.PostAsync(Path, new { input = texts, truncate = "start", input_type = "query" });
        Assert.That(cut.Status, Is.EqualTo(HttpStatusCode.OK), cut.Body);
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));
        Assert.That(cut.Json.GetProperty("truncated").GetInt32(), Is.EqualTo(1));

        var options = new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery };
        string rest = RunningServer.FindRest("tiny-new", text, options);
        Assert.That(rest, Does.EndWith(end).And.StartsWith("word word "));
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["short", rest], options);
        Assert.That(Numbers(cut.Json.GetProperty("data")[count - 1]), Is.EqualTo(expected[1]));
        Assert.That(Numbers(cut.Json.GetProperty("data")[0]), Is.EqualTo(expected[count == 1 ? 1 : 0]));
    }

    [Test]
    public async Task Late_chunking_does_not_cut_the_beginning() => Error(
        await server.PostAsync(Path, new { input = new[] { "a", "b" }, late_chunking = true, truncate = "start" }), HttpStatusCode.BadRequest, "invalid_request_error", null);

    [Test]
    public async Task A_text_within_the_limit_is_not_reported_as_cut()
    {
        ServerAnswer answer = await server.PostAsync(Path, new { input = "short", truncate = "end" });
        Assert.That(answer.Header("x-stella-truncated"), Is.Null);
        Assert.That(answer.Json.TryGetProperty("truncated", out _), Is.False);
    }

    [TestCase("{\"input\":[101,2028,102]}")]
    [TestCase("{\"input\":[[101,2028],[5]]}")]
    public async Task Token_ids_are_refused_with_the_setting_of_the_client(string body)
    {
        ServerAnswer answer = await server.PostTextAsync(Path, body);
        JsonElement error = Error(answer, HttpStatusCode.BadRequest, "invalid_request_error", null);
        Assert.That(error.GetProperty("message").GetString(), Does.Contain("check_embedding_ctx_length=False"));
    }

    [Test]
    public async Task Unknown_fields_are_listed_in_a_header()
    {
        ServerAnswer answer = await server.PostTextAsync(Path, """{"input":"a","user":"u","encodingFormat":"base64","b\r\nc":{"d":[1]}}""");
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        Assert.That(answer.Header("x-stella-ignored"), Is.EqualTo("encodingFormat, b?r?nc"));
    }

    [TestCase("half", 2)]
    [TestCase("int8", 1)]
    [TestCase("uint8", 1)]
    public async Task Smaller_types_have_fewer_bytes(string type, int bytes)
    {
        ServerAnswer answer = await server.PostAsync(Path, new { input = "text", output_dtype = type, encoding_format = "base64" });
        Assert.That(Bytes(answer, 0), Has.Length.EqualTo(bytes * Info("tiny-new").DefaultDimension));
    }

    [Test]
    public async Task Quantized_numbers_are_those_of_the_library()
    {
        float[] vector = (await RunningServer.EmbedByPoolAsync("tiny-new", ["text"]))[0];
        sbyte[] int8 = new sbyte[vector.Length];
        float scale = Quantization.ToInt8(vector, int8);
        byte[] bits = new byte[Quantization.GetBinaryLength(vector.Length)];
        Quantization.ToBinary(vector, bits);

        JsonElement signed = (await server.PostAsync(Path, new { input = "text", output_dtype = "int8" })).Json.GetProperty("data")[0];
        JsonElement unsigned = (await server.PostAsync(Path, new { input = "text", output_dtype = "uint8" })).Json.GetProperty("data")[0];
        JsonElement binary = (await server.PostAsync(Path, new { input = "text", output_dtype = "binary" })).Json.GetProperty("data")[0];
        JsonElement ubinary = (await server.PostAsync(Path, new { input = "text", output_dtype = "ubinary" })).Json.GetProperty("data")[0];

        Assert.That(signed.GetProperty("scale").GetSingle(), Is.EqualTo(scale));
        Assert.That(Integers(signed), Is.EqualTo(int8.Select(value => (int)value)));
        Assert.That(Integers(unsigned), Is.EqualTo(int8.Select(value => value + 128)));
        Assert.That(Integers(ubinary), Is.EqualTo(bits.Select(value => (int)value)));
        Assert.That(Integers(binary), Is.EqualTo(bits.Select(value => value - 128)));
    }

    [Test]
    public async Task Late_chunking_embeds_parts_in_the_context_of_the_whole()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        float[] expected = new float[2 * model.Info.DefaultDimension];
        model.EmbedParts("first part second part", [0..10, 11..22], expected, new() { Prompt = StellaPrompt.Document });
        ServerAnswer answer = await server.PostAsync(Path, new { input = new[] { "first part", "second part" }, late_chunking = true });
        Assert.That(answer.Json.GetProperty("data").EnumerateArray().SelectMany(Numbers), Is.EqualTo(expected));
    }

    [Test]
    public async Task Models_are_listed_and_named()
    {
        ServerAnswer list = await server.GetAsync("/v1/models");
        Assert.That(list.Json.GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()), Is.EqualTo(new[] { "tiny", "org/other" }));

        ServerAnswer one = await server.GetAsync("/v1/models/org/other");
        Assert.That(one.Json.GetProperty("owned_by").GetString(), Is.EqualTo("org"));
        Assert.That(one.Json.GetProperty("object").GetString(), Is.EqualTo("model"));
        Assert.That((await server.GetAsync("/v1/models/org%2Fother")).Body, Is.EqualTo(one.Body), "as some clients encode it");

        ServerAnswer second = await server.PostAsync(Path, new { input = "a", model = "org/other" });
        Assert.That(second.Json.GetProperty("model").GetString(), Is.EqualTo("org/other"));
        Assert.That(Numbers(second.Json.GetProperty("data")[0]), Is.EqualTo((await RunningServer.EmbedByPoolAsync("tiny-qwen2", ["a"]))[0]));

        Error(await server.GetAsync("/v1/models/none"), HttpStatusCode.NotFound, "invalid_request_error", "model_not_found");
        Error(await server.PostAsync(Path, new { input = "a", model = "none" }), HttpStatusCode.NotFound, "invalid_request_error", "model_not_found");
    }

    [TestCase("""{"input":[]}""", "empty")]
    [TestCase("""{"model":"tiny"}""", "'input' is missing")]
    [TestCase("""{"input":null}""", "'input' is missing")]
    [TestCase("""{"input":5}""", "'input' must be")]
    [TestCase("""{"input":["a",null]}""", "'input' must be")]
    [TestCase("""{"input":"a","dimensions":256.5}""", "'dimensions' must be")]
    [TestCase("""{"input":"a","dimensions":99999999999}""", "'dimensions' must be")]
    [TestCase("""{"input":"a","dimensions":0}""", "'dimensions' must be")]
    [TestCase("""{"input":"a","model":5}""", "'model' must be")]
    [TestCase("""{"input":"a","encoding_format":"hex"}""", "must be one of float, base64")]
    [TestCase("""{"input":"a","late_chunking":1}""", "must be true or false")]
    [TestCase("""{"input":"\ud800"}""", "surrogate")]
    [TestCase("""{"input":"a","model":"\ud800"}""", "surrogate")]
    [TestCase("""{"input":"a" """, "not valid JSON")]
    [TestCase("""{"input":"a"} x""", "not valid JSON")]
    [TestCase("""{"input":NaN}""", "not valid JSON")]
    [TestCase("hello", "not valid JSON")]
    [TestCase("[\"a\"]", "must be a JSON object")]
    [TestCase("", "empty")]
    public async Task A_mistake_in_the_body_is_named(string body, string reason)
    {
        ServerAnswer answer = await server.PostTextAsync(Path, body);
        JsonElement error = Error(answer, HttpStatusCode.BadRequest, "invalid_request_error", null);
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(reason));
    }

    [Test]
    public async Task Of_a_field_that_comes_twice_the_last_counts()
    {
        ServerAnswer answer = await server.PostTextAsync(Path, """{"input":["a","b"],"input":"c"}""");
        Assert.That(answer.Json.GetProperty("data").GetArrayLength(), Is.EqualTo(1));
    }

    [Test]
    public async Task A_time_that_is_over_is_refused_without_another_attempt()
    {
        string[] texts = [.. Enumerable.Range(0, 20_000).Select(i => $"{RunningServer.LongText[..400]} {i}")];
        ServerAnswer answer = await server.PostAsync(Path, new { input = texts, timeout_ms = 1 });
        Error(answer, HttpStatusCode.GatewayTimeout, "server_error", "timeout");
        Assert.That(answer.Header("x-should-retry"), Is.EqualTo("false"));
    }

    private static StellaModelInfo Info(string model)
    {
        using StellaModel loaded = StellaModel.Load(Fixtures.Model(model));
        return loaded.Info;
    }

    private static float[] Numbers(JsonElement row) => [.. row.GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle())];

    private static int[] Integers(JsonElement row) => [.. row.GetProperty("embedding").EnumerateArray().Select(number => number.GetInt32())];

    private static byte[] Bytes(ServerAnswer answer, int index)
    {
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        return answer.Json.GetProperty("data")[index].GetProperty("embedding").GetBytesFromBase64();
    }

    private static JsonElement Error(ServerAnswer answer, HttpStatusCode status, string type, string? code)
    {
        Assert.That(answer.Status, Is.EqualTo(status), answer.Body);
        JsonElement error = answer.Json.GetProperty("error");
        Assert.That(error.GetProperty("type").GetString(), Is.EqualTo(type));
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo(code));
        Assert.That(error.GetProperty("message").GetString(), Does.EndWith("."));
        return error;
    }
}
