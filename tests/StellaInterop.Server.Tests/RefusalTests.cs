using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Json.Schema;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Protocols;

namespace StellaInterop.Tests;

/// <summary>Refusals that a framework would make have the protocol's shape, wherever the server is hosted.</summary>
internal sealed class RefusalTests
{
    private const string Path = "/v1/embeddings";

    private static readonly string[] Hostings = ["Production", "Development", "status pages", "executed again", "exception handler"];

    [Test]
    public async Task Refusals_have_the_object_of_their_protocol_under_every_hosting(
        [ValueSource(nameof(Hostings))] string hosting, [Values(HttpProtocols.Http1, HttpProtocols.Http2)] HttpProtocols protocols)
    {
        await using RunningServer server = await RunningServer.StartAsync(
            app =>
            {
                _ = hosting switch
                {
                    "status pages" => app.UseStatusCodePages("text/plain", "status {0}"),
                    "executed again" => app.UseStatusCodePagesWithReExecute("/health"),
                    "exception handler" => app.UseExceptionHandler(handler => handler.Run(context => context.Response.WriteAsync("handled"))),
                    _ => app,
                };
                _ = app.MapStellaServer();
            },
            options => options.MaxBodyBytes = 2000,
            hosting == "Development" ? hosting : "Production",
            protocols);

        const string Form = "application/x-www-form-urlencoded";
        string large = $$"""{"input":"{{new string('a', 3000)}}"}""";
        foreach ((string path, string unknown, string schema) in new[]
        {
            (Path, "/v1/nothing", AnswerSchemas.OpenAIError),
            ("/embed", "/nothing", AnswerSchemas.TeiError),
            ("/api/embed", "/api/nothing", AnswerSchemas.OllamaError),
        })
        {
            // Paths of no protocol have the shape of OpenAI.
            Check(await server.GetAsync(unknown), 404, unknown == "/nothing" ? AnswerSchemas.OpenAIError : schema);
            Check(await server.GetAsync(path), 405, schema);
            Check(await server.SendAsync(HttpMethod.Delete, path, null), 405, schema);
            Check(await server.PostTextAsync(path, "{"), 400, schema);
            Check(await server.PostTextAsync(path, large), 413, schema);
            Check(await server.SendAsync(HttpMethod.Post, path, new ChunkedContent(large)), 413, schema);
            if (schema != AnswerSchemas.OllamaError)
            {
                Check(await server.PostTextAsync(path, "input=a", Form), 415, schema);
            }
        }

        static void Check(ServerAnswer answer, int status, string schema)
        {
            Assert.That((int)answer.Status, Is.EqualTo(status), answer.Body);
            Assert.That(JsonSchema.FromText(schema).Evaluate(System.Text.Json.Nodes.JsonNode.Parse(answer.Body)).IsValid, answer.Body);
            Assert.That(answer.Header("x-request-id"), Is.Not.Null);
            Assert.That(answer.Header("x-should-retry"), Is.EqualTo("false"));
        }
    }

    [Test]
    public async Task Routes_of_the_application_have_precedence()
    {
        await using RunningServer server = await RunningServer.StartAsync(app =>
        {
            _ = app.MapStellaServer();
            _ = app.MapGet("/", () => "home");
            _ = app.MapGet("/docs", () => "help");
            _ = app.MapGet("/v1/embeddings", () => "mine");
        });
        Assert.That((await server.GetAsync("/")).Body, Is.EqualTo("home"));
        Assert.That((await server.GetAsync("/docs")).Body, Is.EqualTo("help"));
        Assert.That((await server.GetAsync(Path)).Body, Is.EqualTo("mine"));
        Assert.That((await server.PostAsync(Path, new { input = "a" })).Status, Is.EqualTo(HttpStatusCode.OK));
    }

    [TestCase("gzip")]
    [TestCase("deflate")]
    [TestCase("br")]
    public async Task A_compressed_body_is_unpacked_up_to_the_limit(string encoding)
    {
        await using RunningServer server = await RunningServer.StartAsync(options => options.MaxBodyBytes = 20_000);
        ServerAnswer small = await PostPackedAsync(server, encoding, """{"input":"a"}""");
        Assert.That(small.Status, Is.EqualTo(HttpStatusCode.OK), small.Body);
        AssertError(await PostPackedAsync(server, encoding, $$"""{"input":"{{new string('a', 10_000_000)}}"}"""), HttpStatusCode.RequestEntityTooLarge);
    }

    [Test]
    public async Task A_damaged_or_unknown_compression_is_refused()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        foreach ((string encoding, HttpStatusCode status) in new[] { ("gzip", HttpStatusCode.BadRequest), ("zstd", HttpStatusCode.UnsupportedMediaType) })
        {
            var content = new ByteArrayContent("""{"input":"a"}"""u8.ToArray());
            content.Headers.ContentEncoding.Add(encoding);
            AssertError(await server.SendAsync(HttpMethod.Post, Path, content), status);
        }
    }

    [Test]
    public async Task A_body_in_chunks_is_refused_at_the_limit()
    {
        await using RunningServer server = await RunningServer.StartAsync(options => options.MaxBodyBytes = 2000);
        using var content = new StreamContent(new MemoryStream(Encoding.UTF8.GetBytes($$"""{"input":"{{new string('a', 3000)}}"}""")));
        using var request = new HttpRequestMessage(HttpMethod.Post, Path) { Content = content };
        request.Headers.TransferEncodingChunked = true;
        using HttpResponseMessage response = await server.Client.SendAsync(request);
        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.RequestEntityTooLarge));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("--max-body-bytes"));
    }

    [Test]
    public async Task A_body_that_is_not_UTF8_is_refused()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        var content = new ByteArrayContent([.. "{\"input\":\""u8, 0xFF, .. "\"}"u8]);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        AssertError(await server.SendAsync(HttpMethod.Post, Path, content), HttpStatusCode.BadRequest);
    }

    [Test]
    public async Task A_full_queue_is_refused_with_the_time_of_another_attempt()
    {
        await using RunningServer server = await RunningServer.StartAsync(options => options.Models.Add(new StellaServedModelOptions
        {
            Name = "tiny",
            Path = Fixtures.Model("tiny-new"),
            Pool = { MaxQueuedCalls = 1 },
        }));
        string text = string.Join(' ', Enumerable.Repeat("word", 400));
        ServerAnswer[] answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(i => server.PostAsync(Path, new { input = $"{i} {text}" })));
        Assert.That(answers.Select(answer => (int)answer.Status), Is.All.AnyOf(200, 429).And.Some.EqualTo(429).And.Some.EqualTo(200));
        foreach (ServerAnswer refused in answers.Where(answer => answer.Status == HttpStatusCode.TooManyRequests))
        {
            AssertError(refused, HttpStatusCode.TooManyRequests);
            Assert.That(int.Parse(refused.Header("retry-after")!), Is.InRange(1, 60));
            Assert.That(int.Parse(refused.Header("retry-after-ms")!), Is.InRange(1, 60_000));
            Assert.That(refused.Header("x-should-retry"), Is.EqualTo("true"));
        }
    }

    [TestCase(Path, HttpStatusCode.TooManyRequests)]
    [TestCase("/embed", HttpStatusCode.TooManyRequests)]
    [TestCase("/api/embed", HttpStatusCode.ServiceUnavailable)]
    public async Task Bodies_beyond_the_room_for_all_are_refused_until_room_comes_back(string path, HttpStatusCode status)
    {
        const int BodyBytes = 64 << 10;
        const int Held = 3;
        await using RunningServer server = await RunningServer.StartAsync(options => (options.MaxBodyBytes, options.MaxBufferedBytes) = (BodyBytes, Held * BodyBytes));
        var room = server.Services.GetRequiredService<RequestRoom>();
        var clients = new List<System.Net.Sockets.TcpClient>();
        try
        {
            for (int i = 0; i < Held; i++)
            {
                // All but the last byte of a body, which the server waits for.
                clients.Add(new System.Net.Sockets.TcpClient());
                await clients[i].ConnectAsync(server.Client.BaseAddress!.Host, server.Client.BaseAddress.Port);
                byte[] part = [.. Encoding.ASCII.GetBytes($"POST {Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {BodyBytes}\r\n\r\n"), .. new byte[BodyBytes - 1]];
                await clients[i].GetStream().WriteAsync(part);
            }

            await UntilAsync(() => room.Taken == Held * BodyBytes);
            ServerAnswer refused = await server.PostTextAsync(path, $$"""{"inputs":"a","input":"a"}""");
            Assert.That(refused.Status, Is.EqualTo(status), refused.Body);
            Assert.That(refused.Body, Does.Contain($"{Held * BodyBytes} of {Held * BodyBytes} bytes"));
            Assert.That(refused.Header("retry-after"), Is.EqualTo("1"));
            Assert.That(refused.Header("retry-after-ms"), Is.EqualTo("1000"));
            Assert.That(refused.Header("x-should-retry"), Is.EqualTo("true"));
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }

        await UntilAsync(() => room.Taken == 0);
        ServerAnswer answer = await server.PostTextAsync(path, $$"""{"inputs":"a","input":"a"}""");
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK), answer.Body);
    }

    [Test]
    public async Task A_body_that_stops_is_refused_and_not_a_fault_of_the_server()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        using (var client = new System.Net.Sockets.TcpClient())
        {
            await client.ConnectAsync(server.Client.BaseAddress!.Host, server.Client.BaseAddress.Port);
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST {Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{\"input\""));
        }

        await UntilAsync(() => server.Log.Lines.Any(line => line.Contains(" StellaInterop.Server:", StringComparison.Ordinal)));
        Assert.That(server.Log.Lines, Has.None.StartWith("Error"));
    }

    [Test]
    public async Task A_mistake_of_a_client_is_one_line_of_the_log()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        _ = await server.PostAsync(Path, new { input = "a", dimensions = 7 });
        Assert.That(server.Log.Lines.Count(line => line.Contains(" StellaInterop.Server:", StringComparison.Ordinal)), Is.EqualTo(1));
        Assert.That(server.Log.Lines, Has.None.Contains("   at "));
    }

    [Test]
    public async Task The_id_of_a_request_is_answered_and_logged()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        ServerAnswer own = await server.SendAsync(HttpMethod.Get, "/v1/models", null, ("x-request-id", "my-id-1"));
        Assert.That(own.Header("x-request-id"), Is.EqualTo("my-id-1"));
        Assert.That(server.Log.Lines, Has.Some.Contains("my-id-1"));
        ServerAnswer other = await server.SendAsync(HttpMethod.Get, "/v1/models", null, ("x-request-id", "no blanks"));
        Assert.That(other.Header("x-request-id"), Does.StartWith("req_"));
    }

    [Test]
    public void All_mistakes_in_the_options_are_reported_at_once()
    {
        Exception error = Assert.CatchAsync(() => RunningServer.StartAsync(options =>
        {
            options.MaxBodyBytes = 3;
            options.MaxBufferedBytes = 2;
            options.CorsOrigins.Add("https://a/");
            options.CorsOrigins.Add("*");
            options.MemoryLimitBytes = 0;
            options.DrainTimeout = TimeSpan.FromMinutes(1);
            options.Models.Add(new StellaServedModelOptions { Path = "./folder" });
            options.Models.Add(new StellaServedModelOptions { Name = "a:b", Path = "x" });
            options.Models.Add(new StellaServedModelOptions { Name = "a", Path = "x", Pool = { MaxBatchTokens = 0 } });
            options.Models.Add(new StellaServedModelOptions { Name = "a", Path = "x" });
        }))!;
        foreach (string part in new[] { "MaxBodyBytes", "MaxBufferedBytes", "MemoryLimitBytes", "DrainTimeout", "CorsOrigins:0", "CorsOrigins:1", "Models:0:Name", "a:b", "Models:2:Pool:MaxBatchTokens", "already taken" })
        {
            Assert.That(error.Message, Does.Contain(part));
        }
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        // A bound for a test that fails, not a measurement.
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!condition())
        {
            await Task.Delay(20, timeout.Token);
        }
    }

    private static async Task<ServerAnswer> PostPackedAsync(RunningServer server, string encoding, string body)
    {
        using var packed = new MemoryStream();
        Stream packer = encoding switch
        {
            "gzip" => new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true),
            "deflate" => new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true),
            _ => new BrotliStream(packed, CompressionLevel.Fastest, leaveOpen: true),
        };
        await using (packer)
        {
            await packer.WriteAsync(Encoding.UTF8.GetBytes(body));
        }

        var content = new ByteArrayContent(packed.ToArray());
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        content.Headers.ContentEncoding.Add(encoding);
        return await server.SendAsync(HttpMethod.Post, Path, content);
    }

    private static void AssertError(ServerAnswer answer, HttpStatusCode status)
    {
        Assert.That(answer.Status, Is.EqualTo(status), answer.Body);
        JsonElement error = answer.Json.GetProperty("error");
        Assert.That(error.GetProperty("message").GetString(), Has.Length.GreaterThan(20).And.EndsWith("."));
        Assert.That(answer.Header("x-request-id"), Is.Not.Null);
    }

    /// <summary>A body whose length the client does not announce.</summary>
    private sealed class ChunkedContent : StreamContent
    {
        public ChunkedContent(string body)
            : base(new MemoryStream(Encoding.UTF8.GetBytes(body))) => Headers.ContentType = new MediaTypeHeaderValue("application/json");

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
