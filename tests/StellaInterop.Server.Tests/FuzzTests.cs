using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using CsCheck;
using Json.Schema;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Http;
using StellaInterop.Tests.Fuzzing;

namespace StellaInterop.Tests;

/// <summary>Random requests to every route of the endpoint table. A failure names the seed of its request.</summary>
internal sealed class FuzzTests
{
    private const int BodyLimit = 16_000;
    private const long BufferLimit = 100 * BodyLimit;
    private const int RequestsPerRoute = 25;
    private const int BrokenRequests = 600;
    private const int Threads = 4;

    /// <summary>Statuses of the web server for requests that are not HTTP. It answers them without a body.</summary>
    private static readonly int[] FramingStatuses = [400, 405, 408, 411, 413, 414, 417, 431, 505];

    private RunningServer server = null!;
    private HttpClient client = null!;
    private Version version = null!;
    private string expected = null!;

    [TearDown]
    public async Task Stop()
    {
        client.Dispose();
        await server.DisposeAsync();
    }

    [TestCase("1.1")]
    [TestCase("2.0")]
    public async Task Random_requests_are_answered_as_their_protocol_says_and_leave_nothing_behind(string httpVersion)
    {
        await StartAsync(httpVersion);
        ServerRoute[] routes = [.. server.Services.GetRequiredService<EndpointDataSource>().Endpoints.Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>()!)];
        Dictionary<string, JsonSchema[]> errors = routes.GroupBy(route => route.Path).ToDictionary(
            path => path.Key, path => path.Select(route => route.Protocol.ErrorSchema).Distinct().Select(schema => JsonSchema.FromText(schema)).ToArray());
        Usage? before = null;
        for (int round = 0; round < 2; round++)
        {
            foreach (ServerRoute route in routes)
            {
                // A connection of HTTP/2 remembers streams for some seconds whose body the server has left unread, 200 at most.
                client.Dispose();
                client = CreateClient();
                // The numbers are seeds. CsCheck shrinks none of them, but it prints the one that failed.
                Gen.Int[0, int.MaxValue].Sample(
                    seed => CheckAsync(route, new RandomRequest(route, seed, BodyLimit), errors[route.Path]).GetAwaiter().GetResult(),
                    iter: RequestsPerRoute,
                    threads: Threads,
                    print: seed => $"seed {seed} of {route.Method} {route.Path}: {new RandomRequest(route, seed, BodyLimit)}");
            }

            await UntilIdleAsync();
            Usage usage = Usage.Measure(server.Log);
            TestContext.Out.WriteLine($"Round {round}: {usage}");
            before ??= usage;
            Assert.That(usage.Handles, Is.LessThanOrEqualTo(before.Handles + (2 * Threads)), "files and sockets");
            Assert.That(usage.ManagedBytes, Is.LessThanOrEqualTo(before.ManagedBytes + 16_000_000), "memory");
        }

        Assert.That(server.Log.Lines.Where(line => line.StartsWith("Error", StringComparison.Ordinal) || line.StartsWith("Critical", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public async Task Requests_that_are_not_valid_HTTP_do_not_disturb_the_server()
    {
        await StartAsync("1.1");
        ServerRoute[] routes = [.. server.Services.GetRequiredService<EndpointDataSource>().Endpoints.Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>()!)];
        Gen.Int[0, int.MaxValue].Sample(seed => CheckBrokenAsync(routes, seed).GetAwaiter().GetResult(), iter: BrokenRequests, threads: Threads, print: seed => $"seed {seed}: {BrokenRequest(routes, seed)}");
        await UntilIdleAsync();
        Assert.That(server.Log.Lines.Where(line => line.StartsWith("Error", StringComparison.Ordinal) || line.StartsWith("Critical", StringComparison.Ordinal)), Is.Empty);
    }

    private async Task StartAsync(string httpVersion)
    {
        version = Version.Parse(httpVersion);
        server = await RunningServer.StartAsync(
            app => app.MapStellaServer(),
            options =>
            {
                options.MaxBodyBytes = BodyLimit;
                // A request that its client has left holds its memory until the server notices. The next one must have room beside some of them.
                options.MaxBufferedBytes = BufferLimit;
            },
            protocols: version.Major == 2 ? HttpProtocols.Http2 : HttpProtocols.Http1);
        client = CreateClient();
        expected = await EmbedAsync();
        Assert.That(expected, Does.StartWith("200 "));
    }

    private HttpClient CreateClient() =>
        // Header values beyond ASCII are valid HTTP.
        new(new SocketsHttpHandler { RequestHeaderEncodingSelector = (_, _) => Encoding.UTF8 }) { BaseAddress = server.Client.BaseAddress };

    private async Task CheckAsync(ServerRoute route, RandomRequest request, JsonSchema[] errorSchemas)
    {
        using HttpRequestMessage message = request.ToMessage(version);
        try
        {
            using HttpResponseMessage response = await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
            if (!request.LeavesWhileReading)
            {
                string body = await ReadAsync(await response.Content.ReadAsStreamAsync(), request.IsReadSlowly);
                CheckAnswer(route, request, response, body, errorSchemas);
            }
        }
        catch (Exception e) when (request.IsAbandoned && e is AbandonedException or HttpRequestException or IOException)
        {
            // There need not be an answer.
        }

        Assert.That(await EmbedAsync(), Is.EqualTo(expected), "the next request");
    }

    private void CheckAnswer(ServerRoute route, RandomRequest request, HttpResponseMessage response, string body, JsonSchema[] errorSchemas)
    {
        int status = (int)response.StatusCode;
        string answer = $"{status} {body[..Math.Min(body.Length, 500)]}";
        Assert.That(status, Is.EqualTo(200).Or.InRange(400, 499).Or.EqualTo(503).Or.EqualTo(504), answer);
        Assert.That(response.Headers.Contains("x-request-id"), answer);
        if (request.Method == "HEAD")
        {
            return;
        }

        if (status == 200)
        {
            server.Description.AssertValid(route.Method, request.Path.Split('?')[0], new ServerAnswer(response.StatusCode, response.Headers, body));
            return;
        }

        Assert.That(response.Content.Headers.ContentType?.MediaType, Is.EqualTo("application/json"), answer);
        var json = System.Text.Json.Nodes.JsonNode.Parse(body);
        Assert.That(errorSchemas.Any(schema => schema.Evaluate(json).IsValid), answer);
        Assert.That(response.Headers.Contains("x-should-retry"), answer);
        Assert.That(response.Headers.GetValues("Server-Timing"), Has.Exactly(1).StartsWith("refuse;dur="));
        if (status is 429 or 503)
        {
            Assert.That(response.Headers.Contains("retry-after") && response.Headers.Contains("retry-after-ms"), answer);
        }
    }

    private static async Task<string> ReadAsync(Stream stream, bool isSlow)
    {
        using var bytes = new MemoryStream();
        byte[] buffer = new byte[isSlow ? 1000 : 1 << 16];
        int read;
        for (int i = 0; (read = await stream.ReadAsync(buffer)) > 0; i++)
        {
            bytes.Write(buffer, 0, read);
            if (isSlow && i < 10)
            {
                await Task.Delay(1);
            }
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    /// <summary>Embeds a text, whose vector is known.</summary>
    private async Task<string> EmbedAsync()
    {
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/embeddings")
        {
            Version = version,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new StringContent("""{"input":"a text","encoding_format":"base64"}""", Encoding.UTF8, "application/json"),
        };
        using HttpResponseMessage response = await client.SendAsync(message);
        return $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
    }

    /// <summary>Waits until no request is left: clients that left have ended theirs.</summary>
    private async Task UntilIdleAsync()
    {
        // A bound for a test that fails, not a measurement.
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            using var message = new HttpRequestMessage(HttpMethod.Get, "/metrics") { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
            using HttpResponseMessage response = await client.SendAsync(message, timeout.Token);
            string[] running = [.. (await response.Content.ReadAsStringAsync(timeout.Token)).Split('\n').Where(line => line.StartsWith("stella_http_running{", StringComparison.Ordinal))];
            Assert.That(running, Is.Not.Empty);
            // The request for the metrics is running.
            if (running.Sum(line => int.Parse(line.Split(' ')[^1])) == 1)
            {
                return;
            }

            await Task.Delay(20, timeout.Token);
        }
    }

    /// <summary>Returns the bytes of a request, changed so that it may not be HTTP any more.</summary>
    private static string BrokenRequest(ServerRoute[] routes, int seed)
    {
        var random = new Random(seed);
        ServerRoute route = routes[random.Next(routes.Length)];
        string body = Encoding.Latin1.GetString(new RandomJson(random).Body(route.Body ?? []));
        body = body[..Math.Min(body.Length, 5000)];
        string framing = random.Next(10) switch
        {
            0 => $"Content-Length: {body.Length + random.Next(1, 100)}\r\n\r\n{body}",
            1 => $"Content-Length: {random.Next(body.Length + 1)}\r\n\r\n{body}",
            2 => $"Content-Length: 99999999999999999999\r\n\r\n{body}",
            3 => $"Content-Length: -1\r\n\r\n{body}",
            4 => $"Transfer-Encoding: chunked\r\n\r\n{body.Length:x}\r\n{body}\r\n0\r\n\r\n",
            5 => $"Transfer-Encoding: chunked\r\n\r\n{body.Length + 1:x}\r\n{body}\r\n0\r\n\r\n",
            6 => $"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{body}\r\n0\r\n\r\n",
            7 => $"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{body.Length:x}\r\n{body}\r\n0\r\n\r\n",
            8 => $"Transfer-Encoding: gzip\r\n\r\n{body}",
            _ => $"X-Long: {new string('x', random.Next(60_000))}\r\nContent-Length: {body.Length}\r\n\r\n{body}",
        };
        string method = route.Method == ServerRoute.AnyMethod ? "PUT" : route.Method;
        string request = $"{method} {route.Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{framing}";
        int position = random.Next(request.Length);
        return random.Next(6) switch
        {
            0 => request[..position],
            1 => $"{request[..position]}{(char)random.Next(256)}{request[position..]}",
            2 => $"{request[..position]}{request[Math.Min(position + random.Next(8), request.Length)..]}",
            3 => request + request,
            _ => request,
        };
    }

    private async Task CheckBrokenAsync(ServerRoute[] routes, int seed)
    {
        using (var connection = new TcpClient())
        {
            await connection.ConnectAsync(client.BaseAddress!.Host, client.BaseAddress.Port);
            NetworkStream stream = connection.GetStream();
            string answer = "";
            try
            {
                await stream.WriteAsync(Encoding.Latin1.GetBytes(BrokenRequest(routes, seed)));
                connection.Client.Shutdown(SocketShutdown.Send);
                using var reader = new StreamReader(stream, Encoding.Latin1);
                answer = await reader.ReadToEndAsync();
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                // The server closed the connection while the request was being sent.
            }

            foreach (string part in answer.Split("HTTP/1.1 ", StringSplitOptions.RemoveEmptyEntries))
            {
                int status = int.Parse(part[..3]);
                bool hasObject = part.Contains("\"error\"", StringComparison.Ordinal) && part.Contains("x-request-id: ", StringComparison.Ordinal);
                Assert.That(status is 100 or 200 || hasObject || FramingStatuses.Contains(status), part);
                Assert.That(status, Is.LessThan(500).Or.EqualTo(503).Or.EqualTo(504).Or.EqualTo(505), part);
            }
        }

        Assert.That(await EmbedAsync(), Is.EqualTo(expected), "the next request");
    }

    /// <summary>The resources of the process of the test, which has the server too.</summary>
    private sealed record Usage(int Handles, long ManagedBytes)
    {
        public static Usage Measure(RecordedLog log)
        {
            long logBytes = log.Lines.Sum(line => line.Length * (long)sizeof(char));
            using var process = Process.GetCurrentProcess();
            int handles = OperatingSystem.IsLinux() ? Directory.GetFiles("/proc/self/fd").Length : process.HandleCount;
            return new Usage(handles, GC.GetTotalMemory(forceFullCollection: true) - logBytes);
        }
    }
}
