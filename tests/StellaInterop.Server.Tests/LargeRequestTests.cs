using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Fields;
using StellaInterop.Server.Models;

namespace StellaInterop.Tests;

/// <summary>Requests that are large, slow or abandoned.</summary>
internal sealed class LargeRequestTests
{
    private const string Path = "/v1/embeddings";

    [Test]
    public async Task An_answer_begins_before_the_last_text_is_computed()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        using TcpClient client = await SendAsync(server, Texts(20_000));
        byte[] buffer = new byte[1000];
        int read = await client.GetStream().ReadAsync(buffer);
        Assert.That(Encoding.ASCII.GetString(buffer, 0, read), Does.StartWith("HTTP/1.1 200 OK"));
        // The client does not read on, so the rest waits in the server.
        Assert.That(server.Log.Lines, Has.None.Contains(" POST /v1/embeddings 200"), "the request is not at its end");
    }

    [Test]
    public async Task A_client_that_leaves_ends_its_calls()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        using (TcpClient client = await SendAsync(server, Texts(20_000)))
        {
            _ = await client.GetStream().ReadAsync(new byte[1000]);
            client.Client.Close(0);
        }

        await UntilAsync(() => Pool(server).GetHealth() is { QueuedCallCount: 0, BusyWorkerCount: 0 });
        await UntilAsync(() => server.Log.Lines.Any(line => line.Contains("the client left", StringComparison.Ordinal)));
    }

    [Test]
    public async Task Answers_do_not_grow_in_memory_while_a_client_reads_slowly()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        _ = await server.PostAsync(Path, new { input = "a" });
        long before = GC.GetTotalMemory(forceFullCollection: true);
        using TcpClient client = await SendAsync(server, Texts(20_000));
        _ = await client.GetStream().ReadAsync(new byte[1000]);
        // All parts that the server computes ahead are computed.
        await UntilAsync(() => Pool(server).GetHealth() is { BusyWorkerCount: 0 });
        long grown = GC.GetTotalMemory(forceFullCollection: true) - before;
        // The whole answer has 200 MB.
        Assert.That(grown, Is.LessThan(20_000_000));
    }

    [TestCase(Path, """{"input":["a","b","c"],"late_chunking":true}""")]
    [TestCase("/embed_all", """{"inputs":["a text of some words, which has hidden states"]}""")]
    public async Task Results_that_are_computed_as_a_whole_take_room_and_give_it_back(string path, string body)
    {
        // Room for the body, and not for the result.
        await using RunningServer server = await RunningServer.StartAsync(options => (options.MaxBodyBytes, options.MaxBufferedBytes) = (1024, 1100));
        var room = server.Services.GetRequiredService<RequestRoom>();
        ServerAnswer refused = await server.PostTextAsync(path, body);
        Assert.That(refused.Status, Is.AnyOf(HttpStatusCode.TooManyRequests, HttpStatusCode.RequestEntityTooLarge), refused.Body);
        await UntilAsync(() => room.Taken == 0);

        await using RunningServer large = await RunningServer.StartAsync();
        room = large.Services.GetRequiredService<RequestRoom>();
        Assert.That((await large.PostTextAsync(path, body)).Status, Is.EqualTo(HttpStatusCode.OK));
        await UntilAsync(() => room.Taken == 0);
    }

    [Test]
    public async Task A_failure_after_the_first_byte_breaks_the_transfer_off()
    {
        await using RunningServer server = await RunningServer.StartAsync();
        using TcpClient client = await SendAsync(server, Texts(20_000));
        using NetworkStream stream = client.GetStream();
        _ = await stream.ReadAsync(new byte[1000]);
        await Pool(server).DisposeAsync();

        byte[] rest = new byte[1 << 20];
        var tail = new List<byte>();
        try
        {
            int read;
            while ((read = await stream.ReadAsync(rest)) > 0)
            {
                tail.AddRange(rest.AsSpan(0, read));
            }
        }
        catch (IOException)
        {
            // The connection was reset.
        }

        Assert.That(Encoding.ASCII.GetString([.. tail.TakeLast(5)]), Is.Not.EqualTo("0\r\n\r\n"), "the end of a complete answer");
    }

    private static StellaEmbeddingPool Pool(RunningServer server) => server.Services.GetRequiredService<ModelRegistry>().Default.Pool;

    private static string Texts(int count) =>
        $$"""{"input":[{{string.Join(',', Enumerable.Range(0, count).Select(i => $"\"text {i}\""))}}]}""";

    /// <summary>Sends a request over a connection whose buffers are small.</summary>
    private static async Task<TcpClient> SendAsync(RunningServer server, string body)
    {
        var client = new TcpClient { ReceiveBufferSize = 8192 };
        await client.ConnectAsync(server.Client.BaseAddress!.Host, server.Client.BaseAddress.Port);
        byte[] bytes = Encoding.ASCII.GetBytes(body);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
            $"POST {Path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {bytes.Length}\r\n\r\n"));
        await client.GetStream().WriteAsync(bytes);
        return client;
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
}
