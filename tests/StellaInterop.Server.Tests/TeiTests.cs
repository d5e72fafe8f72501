using System.Net;
using System.Text.Json;
using StellaInterop.Vectors;

namespace StellaInterop.Tests;

/// <summary>The protocol of Text Embeddings Inference.</summary>
internal sealed class TeiTests
{
    private RunningServer server = null!;

    [OneTimeSetUp]
    public async Task Start() => server = await RunningServer.StartAsync();

    [OneTimeTearDown]
    public async Task Stop() => await server.DisposeAsync();

    [TestCase("/embed")]
    [TestCase("/")]
    public async Task Vectors_are_those_of_the_pool(string path)
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a", "b"]);
        Assert.That(Vectors((await server.PostAsync(path, new { inputs = new[] { "a", "b" } })).Json), Is.EqualTo(expected));
        Assert.That(Vectors((await server.PostAsync(path, new { inputs = "a" })).Json), Is.EqualTo(expected[..1]));
    }

    [Test]
    public async Task A_prompt_has_the_name_of_the_folder()
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a"], new() { Prompt = StellaPrompt.FromName("s2p_query") });
        Assert.That(Vectors((await server.PostAsync("/embed", new { inputs = "a", prompt_name = "s2p_query" })).Json), Is.EqualTo(expected));
        Error(await server.PostAsync("/embed", new { inputs = "a", prompt_name = "none" }), 422, "Validation");
    }

    [Test]
    public async Task Vectors_may_keep_their_length()
    {
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", ["a"], new() { Normalize = false });
        Assert.That(Vectors((await server.PostAsync("/embed", new { inputs = "a", normalize = false })).Json), Is.EqualTo(expected));
    }

    [Test]
    public async Task A_long_text_is_cut_unless_the_client_forbids_it()
    {
        ServerAnswer cut = await server.PostAsync("/embed", new { inputs = RunningServer.LongText });
        Assert.That(cut.Status, Is.EqualTo(HttpStatusCode.OK), cut.Body);
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));
        Error(await server.PostAsync("/embed", new { inputs = RunningServer.LongText, truncate = false }), 422, "Validation");
        Error(await server.PostAsync("/embed", new { inputs = RunningServer.LongText, truncation_direction = "Left" }), 422, "Validation");
    }

    [TestCase("/embed")]
    [TestCase("/")]
    public async Task A_name_with_half_a_character_is_no_field(string path)
    {
        ServerAnswer answer = await server.PostTextAsync(path, """{"\udfffputs":"a","inputs":"a"}""");
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
        Assert.That(answer.Header("x-stella-ignored"), Is.EqualTo("?udfffputs"));
    }

    [TestCase("/similarity")]
    [TestCase("/")]
    public async Task Similarities_are_cosines(string path)
    {
        float[][] vectors = await RunningServer.EmbedByPoolAsync("tiny-new", ["source", "one", "two"]);
        ServerAnswer answer = await server.PostAsync(path, new { inputs = new { source_sentence = "source", sentences = new[] { "one", "two" } } });
        Assert.That(
            answer.Json.EnumerateArray().Select(score => score.GetSingle()),
            Is.EqualTo(vectors[1..].Select(vector => Similarity.Cosine(vectors[0], vector))));
        Error(await server.PostAsync(path, new { inputs = new { source_sentence = "source", sentences = Array.Empty<string>() } }), 400, "Empty");
        Error(await server.PostAsync(path, new { inputs = new { sentences = new[] { "one" } } }), 422, "Validation");
    }

    [Test]
    public async Task Hidden_states_are_those_of_the_model()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        ServerAnswer answer = await server.PostAsync("/embed_all", new { inputs = new[] { "one text", "b" } });
        JsonElement[] texts = [.. answer.Json.EnumerateArray()];
        Assert.That(texts, Has.Length.EqualTo(2));
        Assert.That(Vectors(texts[0]).SelectMany(state => state), Is.EqualTo(model.EmbedTokens("one text").HiddenStates.ToArray()));
    }

    [Test]
    public async Task A_long_text_after_the_first_is_refused_or_counted_before_the_hidden_states_begin()
    {
        Error(await server.PostAsync("/embed_all", new { inputs = new[] { "a", RunningServer.LongText }, truncate = false }), 422, "Validation");
        ServerAnswer cut = await server.PostAsync("/embed_all", new { inputs = new[] { "a", RunningServer.LongText } });
        Assert.That(cut.Status, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));
    }

    [Test]
    public async Task Tokens_have_their_text_and_characters()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        const string text = "😀 some words";
        JsonElement[] tokens = [.. (await server.PostAsync("/tokenize", new { inputs = text })).Json[0].EnumerateArray()];
        Assert.That(tokens.Select(token => token.GetProperty("id").GetInt32()), Is.EqualTo(model.Tokenize(text).Ids.ToArray()));
        Assert.That(tokens[0].GetProperty("special").GetBoolean());
        Assert.That(tokens[0].GetProperty("start").ValueKind, Is.EqualTo(JsonValueKind.Null));
        JsonElement last = tokens[^2];
        string word = last.GetProperty("text").GetString()!;
        Assert.That("some words".EndsWith(word, StringComparison.Ordinal), word);
        Assert.That(last.GetProperty("stop").GetInt32(), Is.EqualTo(12), "in characters and not UTF-16 units");
        Assert.That(last.GetProperty("stop").GetInt32() - last.GetProperty("start").GetInt32(), Is.EqualTo(word.Length));

        JsonElement[] plain = [.. (await server.PostAsync("/tokenize", new { inputs = text, add_special_tokens = false })).Json[0].EnumerateArray()];
        Assert.That(plain, Has.Length.EqualTo(tokens.Length - 2));
    }

    [TestCase("tiny-new", "some words, and more", "some words, and more")]
    [TestCase("tiny-qwen2", "Some wörds\n and 😀", "Some wörds\n and 😀")]
    public async Task Ids_are_decoded(string name, string text, string expected)
    {
        await using RunningServer other = await RunningServer.StartAsync(
            options => options.Models.Add(new StellaServedModelOptions { Name = name, Path = Fixtures.Model(name) }));
        using StellaModel model = StellaModel.Load(Fixtures.Model(name));
        int[] ids = model.Tokenize(text).Ids.ToArray();
        Assert.That((await other.PostAsync("/decode", new { ids })).Json[0].GetString(), Is.EqualTo(expected));
        Assert.That((await other.PostAsync("/decode", new { ids = new[] { ids, ids } })).Json.GetArrayLength(), Is.EqualTo(2));
        ServerAnswer special = await other.PostAsync("/decode", new { ids, skip_special_tokens = false });
        Assert.That(special.Json[0].GetString(), Has.Length.GreaterThan(expected.Length));
        Error(await other.PostAsync("/decode", new { ids = new[] { 99_999_999 } }), 422, "Validation");
        Error(await other.PostAsync("/decode", new { ids = Array.Empty<int>() }), 400, "Empty");
        Error(await other.PostTextAsync("/decode", """{"ids":[1,[2]]}"""), 422, "Validation");
    }

    [TestCase("/tokenize")]
    [TestCase("/embed_all")]
    public async Task Every_route_tells_the_texts_that_were_cut_and_the_fields_without_effect(string path)
    {
        ServerAnswer answer = await server.PostAsync(path, new { inputs = new[] { "a", RunningServer.LongText, RunningServer.LongText }, other = 1 });
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body[..200]);
        Assert.That(answer.Header("x-stella-truncated"), Is.EqualTo("2"));
        Assert.That(answer.Header("x-stella-ignored"), Is.EqualTo("other"));
        Assert.That((await server.PostAsync("/decode", new { ids = new[] { 1 }, other = 1 })).Header("x-stella-ignored"), Is.EqualTo("other"));
    }

    [Test]
    public async Task The_model_is_described()
    {
        JsonElement info = (await server.GetAsync("/info")).Json;
        Assert.That(info.GetProperty("model_id").GetString(), Is.EqualTo("tiny"));
        Assert.That(info.GetProperty("max_input_length").GetInt32(), Is.GreaterThan(1));
        Assert.That(info.GetProperty("model_type").GetProperty("embedding").GetProperty("pooling").GetString(), Is.EqualTo("mean"));
        Assert.That(info.GetProperty("auto_truncate").GetBoolean());
        Assert.That((await server.GetAsync("/health")).Status, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task Mistakes_have_the_statuses_of_the_protocol()
    {
        Error(await server.PostAsync("/embed", new { inputs = Array.Empty<string>() }), 400, "Empty");
        Error(await server.PostTextAsync("/embed", "{"), 400, "Validation");
        Error(await server.PostTextAsync("/embed", "{}"), 422, "Validation");
        Error(await server.PostTextAsync("/embed", "x", "text/plain"), 415, "Validation");
        Error(await server.GetAsync("/embed"), 405, "Validation");
        foreach (string path in new[] { "/rerank", "/predict", "/embed_sparse" })
        {
            Error(await server.PostAsync(path, new { inputs = "a" }), 422, "Validation");
        }
    }

    private static float[][] Vectors(JsonElement rows) =>
        [.. rows.EnumerateArray().Select(row => row.EnumerateArray().Select(number => number.GetSingle()).ToArray())];

    private static void Error(ServerAnswer answer, int status, string type)
    {
        Assert.That((int)answer.Status, Is.EqualTo(status), answer.Body);
        Assert.That(answer.Json.GetProperty("error_type").GetString(), Is.EqualTo(type));
        Assert.That(answer.Json.GetProperty("error").GetString(), Does.EndWith("."));
    }
}
