using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Terminal;
using StellaInterop.Load.Http;
using StellaInterop.Load.Serving;

namespace StellaInterop.Load.Overload;

/// <summary>Sends far more requests than a server can answer, and records the end of each.</summary>
/// <param name="model">The model folder; <see langword="null"/> for the shipped model.</param>
/// <param name="seconds">The seconds under load.</param>
/// <param name="defect">The planted defect.</param>
internal sealed class OverloadRun(string? model, double seconds, Defect defect)
{
    public const int Clients = 64;
    public const int Texts = 32;

    /// <summary>The aim, so that the promised ten times are reached on a machine that slows down.</summary>
    public const double OfferedTimes = 12;

    private const int CapacityClients = 8;

    /// <summary>Texts of a batch of 512 tokens.</summary>
    private const int BatchTexts = 20;

    private static readonly TimeSpan SampleInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan InteractivePause = TimeSpan.FromMilliseconds(20);

    /// <summary>The time after the load until requests count as not answered.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private int nextText;

    public async Task<OverloadRecord> RunAsync()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("stella-load-");
        try
        {
            string keys = Path.Combine(folder.FullName, "keys.json");
            string configuration = Path.Combine(folder.FullName, "server.json");
            await File.WriteAllTextAsync(configuration, defect.Configuration(model)).ConfigureAwait(false);
            string bulk = await ServerProcess.AddKeyAsync(keys, "bulk", "--priority", "bulk").ConfigureAwait(false);
            string interactive = defect.HasInteractiveKey ? await ServerProcess.AddKeyAsync(keys, "interactive").ConfigureAwait(false) : bulk;
            ServerProcess server = await ServerProcess.StartAsync(folder.FullName, "--keys", keys, "--config", configuration).ConfigureAwait(false);
            await using (server.ConfigureAwait(false))
            {
                return await MeasureAsync(server, bulk, interactive).ConfigureAwait(false);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private async Task<OverloadRecord> MeasureAsync(ServerProcess server, string bulk, string interactive)
    {
        double part = Math.Max(2, seconds / 10);
        Progress.Log("Warming up.");
        _ = await SingleTextsAsync(server, interactive, 2, null).ConfigureAwait(false);
        Progress.Log("Measuring the interactive key and a batch without load.");
        Outcome[] idle = await SingleTextsAsync(server, interactive, part, InteractivePause).ConfigureAwait(false);
        double batch = await BatchAsync(server, interactive).ConfigureAwait(false);
        Progress.Log($"Measuring the capacity with {CapacityClients} clients.");
        long begin = Stopwatch.GetTimestamp();
        Outcome[] alone = await BulkAsync(server, bulk, CapacityClients, part, null).ConfigureAwait(false);
        double capacity = alone.Count(outcome => outcome.Status == Outcome.Ok) / Stopwatch.GetElapsedTime(begin).TotalSeconds;
        if (capacity == 0)
        {
            throw new BenchException($"The server answered none of the {alone.Length} requests of {Texts} texts. {server.LogEnd()}");
        }

        Progress.Log(FormattableString.Invariant($"Loading the server with {OfferedTimes} x {capacity:F1} requests a second for {seconds:F0} s."));
        using var end = new CancellationTokenSource();
        Task<List<long>> memory = SampleAsync(server, end.Token);
        Task<Outcome[]> single = SingleTextsAsync(server, interactive, seconds, InteractivePause);
        Task<Outcome[]> load = BulkAsync(server, bulk, Clients, seconds, OfferedTimes * capacity);
        if (defect.KillAt is { } kill)
        {
            await Task.Delay(TimeSpan.FromSeconds(seconds * kill)).ConfigureAwait(false);
            server.Kill();
        }

        // Memory is sampled under load, and not while the last requests end.
        await Task.Delay(TimeSpan.FromSeconds(seconds * (1 - (defect.KillAt ?? 0)))).ConfigureAwait(false);
        await end.CancelAsync().ConfigureAwait(false);
        Outcome[] answers = await load.ConfigureAwait(false);
        return new OverloadRecord
        {
            CapacityPerSecond = capacity,
            OfferedPerSecond = answers.Length / seconds,
            Bulk = answers,
            Interactive = await single.ConfigureAwait(false),
            Idle = idle,
            BatchMilliseconds = batch,
            ResidentBytes = await memory.ConfigureAwait(false),
            ExitCode = await server.StopAsync().ConfigureAwait(false),
        };
    }

    /// <summary>Sends requests of many texts from some clients, each with its next one after the answer of the last.</summary>
    /// <param name="server">The server.</param>
    /// <param name="key">The key.</param>
    /// <param name="clients">The number of clients.</param>
    /// <param name="time">The seconds after which no request begins.</param>
    /// <param name="perSecond">The most requests per second of all clients together; <see langword="null"/> for no limit.</param>
    private async Task<Outcome[]> BulkAsync(ServerProcess server, string key, int clients, double time, double? perSecond)
    {
        var outcomes = new ConcurrentQueue<Outcome>();
        long begin = Stopwatch.GetTimestamp();
        int slots = 0;
        await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(async () =>
        {
            using var client = new Client(server, new EmbeddingRequest(Texts, "base64", key), Texts, time + Patience.TotalSeconds);
            while (Stopwatch.GetElapsedTime(begin).TotalSeconds < time)
            {
                if (perSecond is { } rate)
                {
                    // The slots of all clients are one timetable. A client that is late sends at once.
                    double wait = (Interlocked.Increment(ref slots) / rate) - Stopwatch.GetElapsedTime(begin).TotalSeconds;
                    if (wait > 0)
                    {
                        await Task.Delay(TimeSpan.FromSeconds(wait)).ConfigureAwait(false);
                    }
                }

                Outcome outcome = await client.SendAsync(Interlocked.Add(ref nextText, Texts) - Texts).ConfigureAwait(false);
                outcomes.Enqueue(defect.Change(outcome, outcomes.Count));
            }
        }))).ConfigureAwait(false);
        return [.. outcomes];
    }

    /// <summary>Sends single texts one after the other.</summary>
    private async Task<Outcome[]> SingleTextsAsync(ServerProcess server, string key, double time, TimeSpan? pause)
    {
        var outcomes = new List<Outcome>();
        using var client = new Client(server, new EmbeddingRequest(1, "base64", key), 1, time + Patience.TotalSeconds);
        for (long begin = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begin).TotalSeconds < time;)
        {
            outcomes.Add(await client.SendAsync(Interlocked.Increment(ref nextText)).ConfigureAwait(false));
            if (pause is { } wait)
            {
                await Task.Delay(wait).ConfigureAwait(false);
            }
        }

        return [.. outcomes];
    }

    /// <summary>Returns the median time of a batch by the clock of the server.</summary>
    private async Task<double> BatchAsync(ServerProcess server, string key)
    {
        var request = new EmbeddingRequest(BatchTexts, "base64", key);
        using RawConnection connection = await RawConnection.OpenAsync(server.Address, CancellationToken.None).ConfigureAwait(false);
        var times = new List<double>();
        for (int i = 0; i < 10; i++)
        {
            RawAnswer answer = await connection.SendAsync(request.Next(Interlocked.Add(ref nextText, BatchTexts) - BatchTexts), CancellationToken.None).ConfigureAwait(false);
            times.Add(answer.Timing("embed") ?? throw new BenchException($"The server answered {answer.Status} without load."));
        }

        return Statistics.Median(times);
    }

    private static async Task<List<long>> SampleAsync(ServerProcess server, CancellationToken end)
    {
        var samples = new List<long>();
        while (!end.IsCancellationRequested)
        {
            samples.Add(server.ResidentBytes);
            await Task.Delay(SampleInterval, end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        return samples;
    }

    /// <summary>A client with one connection, which it opens again after it broke. Not thread-safe.</summary>
    private sealed class Client(ServerProcess server, EmbeddingRequest request, int texts, double seconds) : IDisposable
    {
        private readonly CancellationTokenSource timeout = new(TimeSpan.FromSeconds(seconds));

        /// <summary>The beginning of the last vector of a complete answer.</summary>
        private readonly byte[] lastVector = Encoding.ASCII.GetBytes(FormattableString.Invariant($"\"index\":{texts - 1},"));

        private RawConnection? connection;

        public async Task<Outcome> SendAsync(int firstText)
        {
            long begin = Stopwatch.GetTimestamp();
            try
            {
                connection ??= await RawConnection.OpenAsync(server.Address, timeout.Token).ConfigureAwait(false);
                RawAnswer answer = await connection.SendAsync(request.Next(firstText), timeout.Token).ConfigureAwait(false);
                double milliseconds = Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
                bool isComplete = answer.Status == Outcome.Ok
                    ? answer.Body.Span.IndexOf(lastVector) >= 0
                    : answer.Body.Span.IndexOf("\"code\":\"server_overloaded\""u8) >= 0;
                return answer.Status == Outcome.Ok
                    ? new Outcome(answer.Status, isComplete, HasRetryHeaders: false, milliseconds, null)
                    : new Outcome(answer.Status, isComplete, answer.Header("retry-after") is not null && answer.Header("retry-after-ms") is not null, milliseconds, answer.Timing("refuse"));
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                connection?.Dispose();
                connection = null;
                // A server that is away would be asked without end.
                await Task.Delay(InteractivePause).ConfigureAwait(false);
                return new Outcome(0, IsComplete: false, HasRetryHeaders: false, Stopwatch.GetElapsedTime(begin).TotalMilliseconds, null);
            }
        }

        public void Dispose()
        {
            connection?.Dispose();
            timeout.Dispose();
        }
    }
}
