using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.RegularExpressions;
using StellaInterop.Models.Mini;

namespace StellaInterop.Samples.Tests;

/// <summary>Tests the application with the endpoints of the embedding server over HTTP.</summary>
internal sealed partial class EmbeddingEndpointsTests
{
    private SampleProcess server = null!;
    private HttpClient client = null!;

    [OneTimeSetUp]
    public async Task StartAsync()
    {
        server = SampleProcess.Start("EmbeddingEndpoints", "embedding-endpoints", "--urls", "http://127.0.0.1:0");
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
        using HttpResponseMessage response = await client.PostAsJsonAsync(At("/v1/embeddings"), new { input = texts, dimensions = 256 });
        JsonElement answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.That(response.IsSuccessStatusCode, Is.True, answer.ToString());
        Assert.That(
            answer.GetProperty("data").EnumerateArray().Select(row => row.GetProperty("embedding").Deserialize<float[]>()),
            Is.EqualTo(texts.Select(text => model.Embed(text, new StellaEmbedOptions { Dimension = 256 }))).Within(1e-6f));
    }

    [Test]
    public async Task The_routes_of_the_application_and_of_health_answer()
    {
        Assert.That(await client.GetStringAsync(At("/")), Does.Contain("/v1/embeddings"));
        using HttpResponseMessage ready = await client.GetAsync(At("/health/ready"));
        Assert.That(ready.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task A_protocol_that_is_not_mapped_is_not_served()
    {
        using HttpResponseMessage response = await client.PostAsJsonAsync(At("/api/embed"), new { input = "one text" });
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
    }

    private static Uri At(string path) => new(path, UriKind.Relative);

    [GeneratedRegex(@"Now listening on: (http://\S+)")]
    private static partial Regex Listening();
}
