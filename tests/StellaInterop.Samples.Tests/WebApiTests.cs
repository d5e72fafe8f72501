using System.Net;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.Models.Mini;

namespace StellaInterop.Samples.Tests;

/// <summary>Tests the embedding server over HTTP.</summary>
internal sealed partial class WebApiTests
{
    private static readonly Uri Endpoint = new("/v1/embeddings", UriKind.Relative);

    private SampleProcess server = null!;
    private HttpClient client = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        server = SampleProcess.Start("WebApi", "embedding-server", "--urls", "http://127.0.0.1:0");
        string address = await server.UntilAsync(() => Listening().Match(server.Log) is { Success: true } match ? match.Groups[1].Value : null);
        client = new HttpClient { BaseAddress = new Uri(address) };
    }

    [OneTimeTearDown]
    public void Stop()
    {
        int code = server.Stop();
        client.Dispose();
        server.Dispose();
        Assert.That(code, Is.Zero);
    }

    [Test]
    public async Task The_vectors_equal_those_of_the_model()
    {
        string[] texts = ["one text", "another"];
        using var model = StellaModel.Load(StellaMiniModel.Path);
        JsonElement found = await PostAsync(new { input = texts, dimensions = 256 });
        Assert.That(found.GetProperty("object").GetString(), Is.EqualTo("list"));
        Assert.That(found.GetProperty("model").GetString(), Is.EqualTo("stella-mini"));
        Assert.That(found.GetProperty("usage").GetProperty("total_tokens").GetInt64(), Is.EqualTo(7));
        foreach ((JsonElement row, int index) in found.GetProperty("data").EnumerateArray().Select((row, index) => (row, index)))
        {
            Assert.That(row.GetProperty("index").GetInt32(), Is.EqualTo(index));
            float[] expected = model.Embed(texts[index], new StellaEmbedOptions { Dimension = 256 });
            Assert.That(row.GetProperty("embedding").Deserialize<float[]>(), Is.EqualTo(expected).Within(1e-6f));
        }
    }

    [Test]
    public async Task A_query_gets_its_prompt_and_base64_contains_the_numbers()
    {
        using var model = StellaModel.Load(StellaMiniModel.Path);
        JsonElement found = await PostAsync(new { input = "one text", input_type = "query", encoding_format = "base64" });
        byte[] bytes = found.GetProperty("data")[0].GetProperty("embedding").GetBytesFromBase64();
        Assert.That(
            MemoryMarshal.Cast<byte, float>(bytes).ToArray(),
            Is.EqualTo(model.Embed("one text", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery })).Within(1e-6f));
    }

    [TestCase("""{"input": 3}""", HttpStatusCode.BadRequest, "'input' must be a text or an array of texts")]
    [TestCase("""{"input": ["a", 3]}""", HttpStatusCode.BadRequest, "'input' must be a text or an array of texts")]
    [TestCase("""{}""", HttpStatusCode.BadRequest, "'input' must be a text or an array of texts")]
    [TestCase("""{"input": "a", "encoding_format": "hex"}""", HttpStatusCode.BadRequest, "float, base64")]
    [TestCase("""{"input": "a", "input_type": "title"}""", HttpStatusCode.BadRequest, "document, query")]
    [TestCase("""{"input": "a", "dimensions": 77}""", HttpStatusCode.BadRequest, "Its heads have 256, 768, 1024")]
    [TestCase("""{"input": "a", "model": "gpt"}""", HttpStatusCode.BadRequest, "but this generator has 'stella-mini'")]
    [TestCase("""{"input": ["a", "\ud800"]}""", HttpStatusCode.BadRequest, "without unpaired surrogates.")]
    public async Task Invalid_requests_are_refused_with_a_reason(string body, HttpStatusCode status, string words)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        using HttpResponseMessage response = await client.PostAsync(Endpoint, content);
        Assert.That(response.StatusCode, Is.EqualTo(status));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain(JsonEncodedText.Encode(words).ToString()).Or.Contain(words));
    }

    [Test]
    public async Task Health_and_metrics_are_served()
    {
        await PostAsync(new { input = "something to count" });
        Assert.That(await GetAsync("/health/ready"), Is.EqualTo("Healthy"));
        Assert.That(await GetAsync("/health/live"), Is.EqualTo("Healthy"));
        Assert.That(await GetAsync("/metrics"), Does.Contain("stella_forward_duration_seconds_count").And.Contain("stella_model=\"stella-mini\""));
    }

    private Task<string> GetAsync(string path) => client.GetStringAsync(new Uri(path, UriKind.Relative));

    private async Task<JsonElement> PostAsync<T>(T body)
    {
        using HttpResponseMessage response = await client.PostAsJsonAsync(Endpoint, body);
        string text = await response.Content.ReadAsStringAsync();
        Assert.That(response.IsSuccessStatusCode, Is.True, text);
        return JsonDocument.Parse(text).RootElement;
    }

    [GeneratedRegex(@"Now listening on: (http://\S+)")]
    private static partial Regex Listening();
}
