using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Represents a request of a client.</summary>
/// <param name="Path">The path with the query.</param>
/// <param name="Headers">The header fields, with names in lower case.</param>
/// <param name="At">The time of the request in milliseconds of a monotonic clock.</param>
internal sealed record ModelRequest(string Path, IReadOnlyDictionary<string, string> Headers, long At)
{
    public string? Header(string name) => Headers.GetValueOrDefault(name);
}

/// <summary>Specifies the answer to one request. By default, the server sends the file.</summary>
internal sealed record Behaviour
{
    /// <summary>Gets the status that is sent instead of the file.</summary>
    public int? Status { get; init; }

    /// <summary>Gets the additional header fields.</summary>
    public string[] Headers { get; init; } = [];

    /// <summary>Gets the number of bytes of the body after which the server closes the connection.</summary>
    public int? BreakAfter { get; init; }

    /// <summary>Gets the number of bytes of the body after which the server waits for the client to leave.</summary>
    public int? StallAfter { get; init; }

    /// <summary>Gets the content length that is sent instead of the true one.</summary>
    public long? ContentLength { get; init; }

    /// <summary>Gets whether the server ignores the requested range and sends the whole file.</summary>
    public bool IgnoreRange { get; init; }

    /// <summary>Gets the body that is sent instead of the file.</summary>
    public byte[]? Body { get; init; }

    /// <summary>Gets whether the server changes a byte of the body.</summary>
    public bool Damage { get; init; }
}

/// <summary>Serves a repository on 127.0.0.1 by the API of Hugging Face, with scripted faults.</summary>
internal sealed class ModelServer : IDisposable
{
    public const string Model = "test-org/tiny-new";
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";

    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentDictionary<string, ConcurrentQueue<Behaviour>> planned = new();
    private readonly CancellationTokenSource stopped = new();
    private readonly string folder;
    private readonly X509Certificate2? certificate;

    /// <summary>Starts to serve a folder, by https if a certificate is given.</summary>
    public ModelServer(string folder, X509Certificate2? certificate = null)
    {
        (this.folder, this.certificate) = (folder, certificate);
        listener.Start();
        _ = AcceptAsync();
    }

    public string Endpoint => $"{(certificate is null ? "http" : "https")}://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    public ConcurrentQueue<ModelRequest> Requests { get; } = new();

    /// <summary>Gets additional paths in the list of files.</summary>
    public List<string> AlsoListed { get; } = [];

    /// <summary>Gets additional entries in the list of files, which can be invalid.</summary>
    public List<object> AlsoListedAs { get; } = [];

    /// <summary>
    /// Returns the environment of a run that uses this server, without the Hugging Face variables of the machine.
    /// </summary>
    public Dictionary<string, string?> Variables(string home)
    {
        var variables = Environment.GetEnvironmentVariables().Keys.Cast<string>()
            .Where(name => name.StartsWith("HF_", StringComparison.Ordinal) || name.StartsWith("HUGGING", StringComparison.Ordinal)
                || name is "TRANSFORMERS_OFFLINE" or "XDG_CACHE_HOME")
            .ToDictionary(name => name, string? (_) => null);
        variables["HF_HOME"] = home;
        variables["HF_ENDPOINT"] = Endpoint;
        // A proxy of the machine cannot reach 127.0.0.1.
        variables["NO_PROXY"] = variables["no_proxy"] = "127.0.0.1";
        return variables;
    }

    /// <summary>Gets a source that completes when a body stalls.</summary>
    public TaskCompletionSource Stalled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Returns the requests for one file, or for <c>api</c>.</summary>
    public ModelRequest[] RequestsFor(string file) => [.. Requests.Where(request => KeyOf(request.Path) == file)];

    /// <summary>Sets the answers to the next requests for a file, or for <c>api</c>.</summary>
    public void Plan(string file, params Behaviour[] behaviours)
    {
        ConcurrentQueue<Behaviour> queue = planned.GetOrAdd(file, _ => new());
        Array.ForEach(behaviours, queue.Enqueue);
    }

    public void Dispose()
    {
        stopped.Cancel();
        listener.Dispose();
        stopped.Dispose();
    }

    private static string KeyOf(string path) => path.StartsWith("/api/", StringComparison.Ordinal)
        ? "api"
        : path[(path.IndexOf(Commit, StringComparison.Ordinal) is var at and >= 0 ? at + Commit.Length + 1 : 1)..];

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await listener.AcceptTcpClientAsync(stopped.Token));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test has ended.
        }
    }

    /// <summary>Serves one request per connection.</summary>
    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                await using Stream stream = await SecureAsync(client.GetStream());
                using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
                string path = (await reader.ReadLineAsync())!.Split(' ')[1];
                var headers = new Dictionary<string, string>();
                while (await reader.ReadLineAsync() is { Length: > 0 } line)
                {
                    string[] parts = line.Split(": ", 2);
                    headers[parts[0].ToLowerInvariant()] = parts[1];
                }

                var request = new ModelRequest(path, headers, Environment.TickCount64);
                Requests.Enqueue(request);
                await AnswerAsync(request, stream);
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or AuthenticationException)
            {
                // The client closed the connection.
            }
        }
    }

    private async Task<Stream> SecureAsync(NetworkStream plain)
    {
        if (certificate is null)
        {
            return plain;
        }

        var stream = new SslStream(plain);
        await stream.AuthenticateAsServerAsync(certificate);
        return stream;
    }

    private async Task AnswerAsync(ModelRequest request, Stream stream)
    {
        string key = KeyOf(request.Path);
        Behaviour behaviour = planned.TryGetValue(key, out var queue) && queue.TryDequeue(out Behaviour? next) ? next : new();
        byte[] whole = behaviour.Body ?? (key == "api" ? Listing() : Content(key));
        int start = !behaviour.IgnoreRange && request.Header("range") is { } range
            ? int.Parse(range["bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture)
            : 0;
        byte[] body = whole[start..];
        if (behaviour.Damage)
        {
            body[body.Length / 2] ^= 1;
        }

        int status = behaviour.Status ?? (start > 0 ? 206 : 200);
        if (status >= 300)
        {
            body = [];
        }

        string[] header =
        [
            $"HTTP/1.1 {status} x", "Connection: close", $"Content-Length: {behaviour.ContentLength ?? body.Length}", "ETag: \"v1\"",
            .. start > 0 ? [$"Content-Range: bytes {start}-{whole.Length - 1}/{whole.Length}"] : Array.Empty<string>(),
            .. behaviour.Headers,
        ];
        await stream.WriteAsync(Encoding.ASCII.GetBytes(string.Join("\r\n", header) + "\r\n\r\n"));
        await stream.WriteAsync(body.AsMemory(0, behaviour.BreakAfter ?? behaviour.StallAfter ?? body.Length));
        if (behaviour.StallAfter is not null)
        {
            Stalled.TrySetResult();
            await Task.Delay(Timeout.Infinite, stopped.Token);
        }
    }

    private byte[] Content(string file) => File.ReadAllBytes(Path.Combine(folder, file));

    private byte[] Listing()
    {
        IEnumerable<object> files = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
            .Select(file => Entry(Path.GetRelativePath(folder, file).Replace(Path.DirectorySeparatorChar, '/'), File.ReadAllBytes(file)));
        IEnumerable<object> others = AlsoListed.Select(path => Entry(path, [1, 2, 3]));
        return JsonSerializer.SerializeToUtf8Bytes(new { id = Model, sha = Commit, siblings = files.Concat(others).Concat(AlsoListedAs) });
    }

    /// <summary>
    /// Creates the entry of a file: with a hash of LFS for weights, as on Hugging Face, and with a hash of git for other files.
    /// </summary>
    private static object Entry(string path, byte[] content)
    {
        byte[] blob = [.. Encoding.ASCII.GetBytes($"blob {content.Length}\0"), .. content];
#pragma warning disable CA5350 // Git names content by SHA-1.
        string blobId = Convert.ToHexStringLower(SHA1.HashData(blob));
#pragma warning restore CA5350
        return path.EndsWith(".safetensors", StringComparison.Ordinal)
            ? new
            {
                rfilename = path,
                size = content.Length,
                blobId = new string('f', 40),
                lfs = new { sha256 = Convert.ToHexStringLower(SHA256.HashData(content)), size = content.Length, pointerSize = 130 },
            }
            : new { rfilename = path, size = content.Length, blobId };
    }
}
