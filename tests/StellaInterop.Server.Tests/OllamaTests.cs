using System.Net;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>The protocol of Ollama.</summary>
internal sealed class OllamaTests
{
    private RunningServer server = null!;

    [OneTimeSetUp]
    public async Task Start() => server = await RunningServer.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await server.DisposeAsync();

    [TestCase("tiny")]
    [TestCase("tiny:latest")]
    [TestCase(null)]
    public async Task Vectors_are_those_of_the_pool(string? model)
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a", "b"]);
        JsonElement json = (await server.PostAsync("/api/embed", new { model, input = new[] { "a", "b" }, keep_alive = "5m", options = new { num_ctx = 5 } })).Json;
        Assert.That(Vectors(json.GetProperty("embeddings")), Is.EqualTo(expected));
        Assert.That(json.GetProperty("model").GetString(), Is.EqualTo(model ?? "tiny"));
        Assert.That(json.GetProperty("prompt_eval_count").GetInt32(), Is.EqualTo(6));
        Assert.That(json.GetProperty("total_duration").GetInt64(), Is.GreaterThan(1000));
        Assert.That(json.GetProperty("load_duration").GetInt64(), Is.Not.Negative);
    }

    [Test]
    public async Task The_older_route_answers_one_vector()
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a"]);
        JsonElement json = (await server.PostAsync("/api/embeddings", new { model = "tiny", prompt = "a" })).Json;
        Assert.That(json.GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle()), Is.EqualTo(expected[0]));
        Assert.That((await server.PostAsync("/api/embeddings", new { model = "tiny", prompt = "" })).Json.GetProperty("embedding").GetArrayLength(), Is.Zero);
    }

    [TestCase("""{"model":"tiny","input":[]}""")]
    [TestCase("""{"model":"tiny","input":""}""")]
    [TestCase("""{"model":"tiny"}""")]
    public async Task Without_a_text_the_list_is_empty(string body) =>
        Assert.That((await server.PostTextAsync("/api/embed", body)).Json.GetProperty("embeddings").GetArrayLength(), Is.Zero);

    [Test]
    public async Task A_long_text_is_cut_unless_the_client_forbids_it()
    {
        ServerAnswer cut = await server.PostAsync("/api/embed", new { input = RunningServer.LongText });
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));
        Assert.That(cut.Json.GetProperty("truncated").GetInt32(), Is.EqualTo(1));
        Error(await server.PostAsync("/api/embed", new { input = RunningServer.LongText, truncate = false }), 400);
    }

    [Test]
    public async Task Models_are_listed_with_a_tag()
    {
        JsonElement model = (await server.GetAsync("/api/tags")).Json.GetProperty("models")[0];
        Assert.That(model.GetProperty("name").GetString(), Is.EqualTo("tiny:latest"));
        Assert.That(model.GetProperty("digest").GetString(), Has.Length.EqualTo(64));
        Assert.That(model.GetProperty("size").GetInt64(), Is.GreaterThan(1000));
        JsonElement show = (await server.PostAsync("/api/show", new { model = "tiny:latest" })).Json;
        Assert.That(show.GetProperty("capabilities")[0].GetString(), Is.EqualTo("embedding"));
        Assert.That(show.GetProperty("details").GetProperty("format").GetString(), Is.EqualTo("safetensors"));
        Assert.That(show.GetProperty("details").GetProperty("quantization_level").GetString(), Is.AnyOf("F32", "BF16"));
        Assert.That((await server.GetAsync("/api/version")).Json.GetProperty("version").GetString(), Is.Not.Empty);
        Assert.That((await server.GetAsync("/")).Body, Is.EqualTo("Ollama is running"));
    }

    [TestCase("LICENSE", "All rights\n", "All rights\n")]
    [TestCase("README.md", "---\ntags: [a]\nlicense: 'mit'\n---\nlicense: other\n", "mit")]
    [TestCase("README.md", "# A model\nlicense: mit\n", "")]
    [TestCase(null, null, "")]
    public async Task A_model_is_shown_with_the_license_of_its_folder(string? file, string? content, string license)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        if (file is not null)
        {
            await File.WriteAllTextAsync(folder.File(file), content);
        }

        await using RunningServer licensed = await RunningServer.StartAsync(
            options => options.Models.Add(new StellaServedModelOptions { Name = "org/name", Path = folder.Path }));
        using var client = new OllamaSharp.OllamaApiClient(licensed.Client);
        OllamaSharp.Models.ShowModelResponse shown = await client.ShowModelAsync(new OllamaSharp.Models.ShowModelRequest { Model = "org/name" });
        Assert.That(shown.License, Is.EqualTo(license));
        Assert.That(shown.Modelfile, Is.EqualTo("FROM org/name\n"));
        Assert.That(new[] { shown.Parameters, shown.Template, shown.System }, Is.All.EqualTo(""));
        Assert.That(shown.Capabilities, Is.EqualTo(new[] { "embedding" }));
        Assert.That(shown.Info.ParameterCount, Is.GreaterThan(1000));
    }

    [TestCase("/api/embed", """{"input":"a","keep_alive":"5m","options":{"num_ctx":5},"other":1}""", "keep_alive, options, other")]
    [TestCase("/api/embeddings", """{"prompt":"a","options":{},"keep_alive":-1}""", "options, keep_alive")]
    [TestCase("/api/show", """{"model":"tiny","verbose":true}""", "verbose")]
    [TestCase("/api/embed", """{"input":"a","keep_alive":null,"options":null}""", null)]
    public async Task Fields_of_the_protocol_without_effect_are_listed_as_ignored(string path, string body, string? ignored)
    {
        ServerAnswer answer = await server.PostTextAsync(path, body);
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        Assert.That(answer.Header("x-stella-ignored"), Is.EqualTo(ignored));
    }

    [Test]
    public async Task Only_models_in_memory_are_listed_as_running()
    {
        await using RunningServer two = await RunningServer.StartAsync(options =>
        {
            options.Models.Add(new StellaServedModelOptions { Name = "tiny", Path = Fixtures.Model("tiny-new") });
            options.Models.Add(new StellaServedModelOptions { Name = "other", Path = Fixtures.Model("tiny-qwen2") });
        });
        Assert.That((await two.GetAsync("/api/ps")).Json.GetProperty("models").GetArrayLength(), Is.Zero);
        _ = await two.PostAsync("/api/embed", new { model = "other", input = "a" });

        ServerAnswer answer = await two.GetAsync("/api/ps");
        JsonElement model = answer.Json.GetProperty("models")[0];
        Assert.That(answer.Json.GetProperty("models").GetArrayLength(), Is.EqualTo(1), answer.Body);
        Assert.That(
            model.EnumerateObject().Select(field => field.Name),
            Is.EqualTo(new[] { "name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length" }));
        Assert.That(model.GetProperty("name").GetString(), Is.EqualTo("other:latest"));
        Assert.That(model.GetProperty("expires_at").GetDateTime(), Is.GreaterThan(DateTime.UtcNow));
        Assert.That(model.GetProperty("digest").GetString(), Is.EqualTo((await two.GetAsync("/api/tags")).Json.GetProperty("models")[1].GetProperty("digest").GetString()));

        using var client = new OllamaSharp.OllamaApiClient(two.Client);
        Assert.That((await client.ListRunningModelsAsync()).Select(running => running.Name), Is.EqualTo(new[] { "other:latest" }));
        Assert.That(await client.IsRunningAsync());
    }

    [Test]
    public async Task Mistakes_have_the_shape_of_the_protocol()
    {
        string message = Error(await server.PostAsync("/api/embed", new { model = "none", input = "a" }), 404);
        Assert.That(message, Does.StartWith("model 'none' not found"));
        _ = Error(await server.PostTextAsync("/api/embed", "{"), 400);
        _ = Error(await server.PostTextAsync("/api/embed", """{"input":[1]}"""), 400);
        _ = Error(await server.GetAsync("/api/pull"), 404);
        _ = Error(await server.GetAsync("/api/embed"), 405);
    }

    [Test]
    public async Task The_content_type_of_curl_is_accepted() =>
        Assert.That((await server.PostTextAsync("/api/embed", """{"input":"a"}""", "application/x-www-form-urlencoded")).Status, Is.EqualTo(HttpStatusCode.OK));

    private static float[][] Vectors(JsonElement rows) =>
        [.. rows.EnumerateArray().Select(row => row.EnumerateArray().Select(number => number.GetSingle()).ToArray())];

    private static string Error(ServerAnswer answer, int status)
    {
        Assert.That((int)answer.Status, Is.EqualTo(status), answer.Body);
        return answer.Json.GetProperty("error").GetString()!;
    }
}
