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
        Error(await server.PostAsync("/embed", new { inputs = RunningServer.LongText, truncate = false, truncation_direction = "Left" }), 422, "Validation");
    }

    [Test]
    public async Task A_text_that_is_cut_on_the_left_keeps_its_end()
    {
        string text = $"{RunningServer.LongText} a different end";
        string rest = RunningServer.FindRest("tiny-new", text);
        float[][] expected = await RunningServer.EmbedByPoolAsync("tiny-new", [rest, "one"]);
        ServerAnswer cut = await server.PostAsync("/embed", new { inputs = new[] { text, "one" }, truncation_direction = "Left" });
        Assert.That(Vectors(cut.Json), Is.EqualTo(expected));
        Assert.That(cut.Header("x-stella-truncated"), Is.EqualTo("1"));

        ServerAnswer scores = await server.PostAsync(
            "/similarity", new { inputs = new { source_sentence = text, sentences = new[] { text, "one" } }, parameters = new { truncation_direction = "left" } });
        Assert.That(
            scores.Json.EnumerateArray().Select(score => score.GetSingle()),
            Is.EqualTo(expected.Select(vector => Similarity.Cosine(expected[0], vector))));
        Assert.That(scores.Header("x-stella-truncated"), Is.EqualTo("2"));

        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        ServerAnswer states = await server.PostAsync("/embed_all", new { inputs = new[] { "one", text }, truncation_direction = "Left" });
        Assert.That(Vectors(states.Json[1]).SelectMany(state => state), Is.EqualTo(model.EmbedTokens(rest).HiddenStates.ToArray()));
        Assert.That(states.Header("x-stella-truncated"), Is.EqualTo("1"));
    }

    [TestCase("/embed", "word 😀 \"é\"", 10)]
    [TestCase("/", "word", 4)]
    [TestCase("/embed_all", "word", 4)]
    public async Task Headers_tell_the_cost_of_an_answer(string path, string text, int characters)
    {
        ServerAnswer answer = await server.PostAsync(path, new { inputs = text });
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        Assert.That(answer.Header("x-compute-type"), Is.EqualTo("cpu"));
        Assert.That(answer.Header("x-compute-characters"), Is.EqualTo($"{characters}"));
        Assert.That(answer.Header("x-compute-tokens"), Is.EqualTo($"{model.Tokenize(text).Ids.Length}"));
        string[] times = ["x-compute-time", "x-total-time", "x-inference-time", .. path == "/embed_all" ? [] : new[] { "x-tokenization-time", "x-queue-time" }];
        Assert.That(times.Select(answer.Header), Is.All.Match("^[0-9]+$"));
        Assert.That(long.Parse(answer.Header("x-inference-time")!), Is.LessThanOrEqualTo(long.Parse(answer.Header("x-total-time")!)));
    }

    [Test]
    public async Task A_comparison_counts_its_source()
    {
        ServerAnswer answer = await server.PostAsync("/similarity", new { inputs = new { source_sentence = "c", sentences = new[] { "a", "b" } } });
        Assert.That(answer.Header("x-compute-characters"), Is.EqualTo("3"));
        Assert.That(answer.Header("x-compute-tokens"), Is.EqualTo("9"));
    }

    [Test]
    public async Task A_count_that_is_not_known_at_the_first_byte_has_no_header()
    {
        ServerAnswer answer = await server.PostAsync("/embed", new { inputs = Enumerable.Repeat("é", 1000) });
        Assert.That(answer.Header("x-compute-characters"), Is.EqualTo("1000"));
        Assert.That(answer.Header("x-compute-tokens"), Is.Null);
        Assert.That(answer.Header("x-inference-time"), Is.Not.Null);
        ServerAnswer other = await server.PostAsync("/tokenize", new { inputs = "a" });
        Assert.That(other.Headers.Select(header => header.Key), Has.None.StartsWith("x-compute"));
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

    [Test]
    public async Task Tokens_of_a_prompt_have_the_characters_of_the_prompt()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        string prompt = model.Info.Prompts.Single(known => known.Name == "s2p_query").Text;
        foreach (string name in new[] { "s2p_query", "s2p" })
        {
            JsonElement[] tokens = [.. (await server.PostAsync("/tokenize", new { inputs = "word", prompt_name = name })).Json[0].EnumerateArray()];
            Assert.That(
                tokens.Select(token => token.GetProperty("id").GetInt32()),
                Is.EqualTo(model.Tokenize("word", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery }).Ids.ToArray()));
            Assert.That(tokens[1].GetProperty("start").GetInt32(), Is.Zero);
            Assert.That(tokens[^2].GetProperty("stop").GetInt32(), Is.EqualTo(prompt.Length + 4));
        }

        Error(await server.PostAsync("/tokenize", new { inputs = "word", prompt_name = "none" }), 422, "Validation");
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
        Error(await other.PostAsync("/decode", new { ids = Enumerable.Repeat(ids, 5000).Append([99_999_999]) }), 422, "Validation");
        JsonElement many = (await other.PostAsync("/decode", new { ids = Enumerable.Repeat(ids, 5000) })).Json;
        Assert.That(many.EnumerateArray().Select(decoded => decoded.GetString()), Is.All.EqualTo(expected).And.Exactly(5000).Items);
        Error(await other.PostAsync("/decode", new { ids = Array.Empty<int>() }), 400, "Empty");
        Error(await other.PostTextAsync("/decode", """{"ids":[1,[2]]}"""), 422, "Validation");
    }

    [TestCase("/tokenize", null)]
    [TestCase("/embed_all", "2")]
    public async Task Every_route_tells_the_texts_that_were_cut_and_the_fields_without_effect(string path, string? truncated)
    {
        ServerAnswer answer = await server.PostAsync(path, new { inputs = new[] { "a", RunningServer.LongText, RunningServer.LongText }, other = 1 });
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body[..200]);
        Assert.That(answer.Header("x-stella-truncated"), Is.EqualTo(truncated));
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
        Assert.That(info.GetProperty("model_dtype").GetString(), Is.AnyOf("float32", "bfloat16"));
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
