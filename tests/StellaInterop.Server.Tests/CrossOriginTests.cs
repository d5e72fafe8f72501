using System.Net;
using StellaInterop.Server.Http;
using StellaInterop.Server.Keys;

namespace StellaInterop.Tests;

/// <summary>Web pages of other origins.</summary>
internal sealed class CrossOriginTests
{
    private const string Path = "/v1/embeddings";
    private const string Allowed = "https://app.example.com";

    /// <summary>Headers that browsers show to every script, or that concern the connection.</summary>
    private static readonly string[] PlainHeaders = ["Date", "Server", "Transfer-Encoding", "Connection", "Vary", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"];

    private TemporaryFolder folder = null!;
    private RunningServer server = null!;
    private string key = null!;

    [SetUp]
    public async Task Start()
    {
        folder = new TemporaryFolder();
        key = KeyFile.CreateKey();
        KeyFile.Save(folder.File("keys.json"), [new ApiKey { Name = "first", Sha256 = KeyFile.Hash(key), TokensPerMinute = 10, Concurrent = 2 }]);
        server = await RunningServer.StartAsync(options =>
        {
            options.KeyFile = folder.File("keys.json");
            options.CorsOrigins.Add(Allowed);
            options.CorsOrigins.Add("http://localhost:3000");
        });
    }

    [TearDown]
    public async Task Stop()
    {
        await server.DisposeAsync();
        folder.Dispose();
    }

    [TestCase(Path, "POST")]
    [TestCase("/embed", "POST")]
    [TestCase("/v1/models/tiny", "GET")]
    [TestCase("/no/such/path", "GET")]
    public async Task A_browser_may_ask_without_a_key_whether_a_page_may_send_a_request(string path, string method)
    {
        ServerAnswer answer = await AskAsync(server, Allowed, path, method);
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.NoContent));
        Assert.That(answer.Header("Access-Control-Allow-Origin"), Is.EqualTo(Allowed));
        Assert.That(answer.Header("Access-Control-Allow-Methods"), Does.Contain(method));
        Assert.That(answer.Header("Access-Control-Allow-Headers"), Is.EqualTo("authorization,content-type,x-stainless-os,api-key"));
        Assert.That(answer.Header("Access-Control-Allow-Credentials"), Is.Null);
        Assert.That(answer.Header("Vary"), Is.EqualTo("Origin"), "the answer to another origin differs");
    }

    [TestCase("https://other.example.com")]
    [TestCase("http://app.example.com")]
    [TestCase("https://app.example.com.evil.example")]
    [TestCase("null")]
    public async Task A_page_of_another_origin_gets_no_permission(string origin)
    {
        Assert.That((await AskAsync(server, origin, Path, "POST")).Header("Access-Control-Allow-Origin"), Is.Null);
        Assert.That((await SendAsync(HttpMethod.Get, "/v1/models", null, origin)).Header("Access-Control-Allow-Origin"), Is.Null);
    }

    [Test]
    public async Task Scripts_may_read_every_header_of_answers_and_refusals()
    {
        string longText = string.Join(' ', Enumerable.Repeat("word", 2000));
        ServerAnswer[] answers =
        [
            await SendAsync(HttpMethod.Post, "/api/embed", "{"),
            await SendAsync(HttpMethod.Post, "/embed", $$"""{"inputs":"{{longText}}","other":1}"""),
            await SendAsync(HttpMethod.Post, Path, """{"input":"a"}"""),
            await SendAsync(HttpMethod.Get, "/v1/models", null, key: "wrong"),
            await SendAsync(HttpMethod.Get, Path, null),
            await SendAsync(HttpMethod.Get, "/no/such/path", null),
        ];
        Assert.That(answers.Select(answer => (int)answer.Status), Is.EqualTo(new[] { 400, 200, 429, 401, 405, 404 }));
        foreach (ServerAnswer answer in answers)
        {
            Assert.That(answer.Header("Access-Control-Allow-Origin"), Is.EqualTo(Allowed), answer.Body);
            string[] exposed = answer.Header("Access-Control-Expose-Headers")!.Split(',');
            Assert.That(exposed, Is.EqualTo(CrossOrigin.ExposedHeaders));
            Assert.That(answer.Headers.Select(header => header.Key).Except(PlainHeaders).Except(exposed, StringComparer.OrdinalIgnoreCase), Is.Empty, answer.Body);
        }
    }

    [Test]
    public async Task Without_allowed_origins_no_page_gets_permission()
    {
        await using RunningServer closed = await RunningServer.StartAsync();
        ServerAnswer asked = await AskAsync(closed, Allowed, Path, "POST");
        Assert.That(asked.Status, Is.EqualTo(HttpStatusCode.MethodNotAllowed));
        Assert.That(asked.Headers.Concat((await closed.SendAsync(HttpMethod.Get, "/v1/models", null, ("Origin", Allowed))).Headers).Select(header => header.Key), Has.None.StartWith("Access-Control"));
    }

    [Test]
    public async Task A_star_allows_every_page()
    {
        await using RunningServer open = await RunningServer.StartAsync(options => options.CorsOrigins.Add("*"));
        Assert.That((await AskAsync(open, "https://any.example", Path, "POST")).Header("Access-Control-Allow-Origin"), Is.EqualTo("*"));
    }

    private static Task<ServerAnswer> AskAsync(RunningServer server, string origin, string path, string method) => server.SendAsync(
        HttpMethod.Options, path, null, ("Origin", origin), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os,api-key"));

    private Task<ServerAnswer> SendAsync(HttpMethod method, string path, string? body, string origin = Allowed, string? key = null) => server.SendAsync(
        method, path, body is null ? null : new StringContent(body, System.Text.Encoding.UTF8, "application/json"), ("Origin", origin), ("Authorization", $"Bearer {key ?? this.key}"));
}
