using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;

namespace StellaInterop.Tests.Clients;

/// <summary>Represents a request as the server saw it.</summary>
/// <param name="Path">The path.</param>
/// <param name="Status">The status of the answer.</param>
/// <param name="Message">The message of the refusal; <c>-</c> for an answer.</param>
internal sealed record ServedRequest(string Path, int Status, string Message)
{
    public bool IsOverload => Status is 429 or 503;
}

/// <summary>A server with stella-mini and keys, whose queue a test can fill.</summary>
internal sealed partial class ClientServer : IAsyncDisposable
{
    public const string Model = "stella-mini";

    /// <summary>The number of texts that keep the model busy until they are cancelled. The pool computes equal texts once, so they differ.</summary>
    private const int HoldingTexts = 5_000;

    private readonly TemporaryFolder folder;
    private readonly RunningServer server;
    private readonly ActiveRequests active;
    private int seen;

    private ClientServer(TemporaryFolder folder, RunningServer server, ActiveRequests active, string key)
    {
        (this.folder, this.server, this.active, Key) = (folder, server, active, key);
        Address = server.Client.BaseAddress!.ToString().TrimEnd('/');
    }

    public string Address { get; }

    public string Key { get; }

    private StellaEmbeddingPool Pool => server.Services.GetRequiredService<ModelRegistry>().Default.Pool;

    /// <summary>Starts a server.</summary>
    /// <param name="maxQueuedCalls">The length of the queue.</param>
    public static async Task<ClientServer> StartAsync(int maxQueuedCalls)
    {
        var folder = new TemporaryFolder();
        string key = KeyFile.CreateKey();
        KeyFile.Save(folder.File("keys.json"), [new ApiKey { Name = "client", Sha256 = KeyFile.Hash(key) }]);
        var active = new ActiveRequests();
        RunningServer server = await RunningServer.StartAsync(
            app =>
            {
                _ = app.Use(active.CountAsync);
                _ = app.MapStellaServer();
            },
            options =>
            {
                options.KeyFile = folder.File("keys.json");
                options.Models.Add(new StellaServedModelOptions
                {
                    Name = Model,
                    Path = Fixtures.Model("stella-mini"),
                    Pool = new StellaPoolOptions { MaxQueuedCalls = maxQueuedCalls },
                });
            });
        return new ClientServer(folder, server, active, key);
    }

    /// <summary>Returns the requests that ended since the last call. The server may log a request after its client has the answer.</summary>
    public async Task<IReadOnlyList<ServedRequest>> TakeRequestsAsync()
    {
        await UntilAsync(() => active.Count == 0);
        ServedRequest[] requests = [.. Requests()];
        ServedRequest[] taken = requests[seen..];
        seen = requests.Length;
        return taken;
    }

    /// <summary>Fills the queue until the server has refused a request, or until the returned object is disposed.</summary>
    public async Task<IAsyncDisposable> FillQueueAsync()
    {
        var hold = new Hold(Pool, () => Requests().Skip(seen).Any(request => request.IsOverload));
        await UntilAsync(() => Pool.GetHealth().BusyWorkerCount > 0);
        return hold;
    }

    public async ValueTask DisposeAsync()
    {
        await server.DisposeAsync();
        folder.Dispose();
    }

    private IEnumerable<ServedRequest> Requests() => server.Log.Lines
        .Select(line => AccessLog().Match(line))
        .Where(match => match.Success)
        .Select(match => new ServedRequest(
            match.Groups["path"].Value, int.Parse(match.Groups["status"].Value, CultureInfo.InvariantCulture), match.Groups["message"].Value));

    private static async Task UntilAsync(Func<bool> condition)
    {
        // A bound for a test that fails, not a measurement.
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!condition())
        {
            await Task.Delay(5, timeout.Token);
        }
    }

    [GeneratedRegex(@" StellaInterop\.Server: \w+ (?<path>\S+) (?<status>\d+) .* ms, .*, key [^,]*, [^,:]*: (?<message>.*)$")]
    private static partial Regex AccessLog();

    /// <summary>Counts requests until after they are logged.</summary>
    private sealed class ActiveRequests
    {
        private int count;

        public int Count => Volatile.Read(ref count);

        public async Task CountAsync(HttpContext context, RequestDelegate next)
        {
            _ = Interlocked.Increment(ref count);
            try
            {
                await next(context);
            }
            finally
            {
                _ = Interlocked.Decrement(ref count);
            }
        }
    }

    /// <summary>A call that keeps the model busy.</summary>
    private sealed class Hold : IAsyncDisposable
    {
        private readonly CancellationTokenSource end = new();
        private readonly Task call;
        private readonly Task watch;

        public Hold(StellaEmbeddingPool pool, Func<bool> isSeen)
        {
            call = pool.EmbedAsync(
                [.. Enumerable.Range(0, HoldingTexts).Select(i => $"{i} {ClientCase.LongText}")], new StellaEmbedOptions { Dimension = ClientCase.OtherDimension }, null, end.Token);
            watch = WatchAsync(isSeen);
        }

        public async ValueTask DisposeAsync()
        {
            await end.CancelAsync();
            await Task.WhenAll(call, watch).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            end.Dispose();
        }

        private async Task WatchAsync(Func<bool> isSeen)
        {
            while (!isSeen())
            {
                await Task.Delay(5, end.Token);
            }

            await end.CancelAsync();
        }
    }
}
