using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Terminal;
using StellaInterop.Load.Http;
using StellaInterop.Load.Overload;
using StellaInterop.Load.Serving;
using StellaInterop.Models.Mini;

namespace StellaInterop.Load.Cost;

/// <summary>Measures the cost of HTTP against a pool that is called directly, in one run.</summary>
/// <param name="model">The model folder; <see langword="null"/> for the shipped model.</param>
/// <param name="rounds">The number of rounds. Each measures everything in turn.</param>
/// <param name="seconds">The seconds of each measurement of a round.</param>
/// <param name="minShare">The smallest throughput over HTTP, as a part of that of the pool.</param>
internal sealed class CostRun(string? model, int rounds, double seconds, double minShare)
{
    private const int Clients = 64;
    private const int Calls = 100;
    private const int Starts = 5;
    private const double AddedLimit = 0.5;

    private int nextText;

    /// <summary>Runs, and prints the tables.</summary>
    /// <returns>Whether all figures are within their limits.</returns>
    public async Task<bool> RunAsync(TextWriter output)
    {
        string folder = model ?? StellaMiniModel.Path;
        DirectoryInfo work = Directory.CreateTempSubdirectory("stella-load-");
        try
        {
            string configuration = Path.Combine(work.FullName, "server.json");
            await File.WriteAllTextAsync(configuration, Defect.None.Configuration(model)).ConfigureAwait(false);
            string[] options = ["--config", configuration];
            double start = await StartAsync(work.FullName, options).ConfigureAwait(false);
            ServerProcess server = await ServerProcess.StartAsync(work.FullName, options).ConfigureAwait(false);
            var pool = new StellaEmbeddingPool(folder);
            await using (server.ConfigureAwait(false))
            await using (pool.ConfigureAwait(false))
            {
                return await MeasureAsync(server, pool, start, output).ConfigureAwait(false);
            }
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private async Task<bool> MeasureAsync(ServerProcess server, StellaEmbeddingPool pool, double start, TextWriter output)
    {
        _ = await pool.WarmUpAsync().ConfigureAwait(false);
        StellaTokens[] tokens = await pool.TokenizeAsync([EmbeddingRequest.TextOf(0)]).ConfigureAwait(false);
        Way[] ways =
        [
            new("pool", async (client, first) =>
            {
                _ = await pool.EmbedAsync(EmbeddingRequest.TextOf(first)).ConfigureAwait(false);
                return null;
            }),
            new("HTTP, base64", HttpCall(server, "base64")),
            new("HTTP, float", HttpCall(server, "float")),
        ];
        foreach (Way way in ways)
        {
            Progress.Log($"Warming up: {way.Name}.");
            _ = await ThroughputAsync(way, server, Math.Min(2, seconds)).ConfigureAwait(false);
        }

        for (int round = 0; round < rounds; round++)
        {
            Progress.Log(FormattableString.Invariant($"Round {round + 1} of {rounds}."));
            foreach (Way way in ways)
            {
                way.Rates.Add(await ThroughputAsync(way, server, seconds).ConfigureAwait(false));
            }

            // One call at a time, in turn. The order changes, because a call leaves the caches of the processor to the next.
            for (int i = 0; i < Calls * ways.Length; i++)
            {
                Way way = ways[(i + (i / ways.Length)) % ways.Length];
                long begin = Stopwatch.GetTimestamp();
                double? inside = await way.Call(0, Interlocked.Increment(ref nextText)).ConfigureAwait(false);
                double milliseconds = Stopwatch.GetElapsedTime(begin).TotalMilliseconds;
                way.Latencies.Add(milliseconds);
                way.Outside.Add(milliseconds - (inside ?? milliseconds));
            }
        }

        var table = new MarkdownTable("way", "texts/s", "of the pool", "client us/text", "server us/text", "median ms, idle", "added ms", "outside the pool ms");
        foreach (Way way in ways)
        {
            table.Add(
                way.Name,
                Number(Statistics.Median([.. way.Rates.Select(rate => rate.PerSecond)]), "F0"),
                Number(way.ShareOf(ways[0]) * 100, "F1") + " %",
                Number(Statistics.Median([.. way.Rates.Select(rate => rate.ClientMicroseconds)]), "F0"),
                Number(Statistics.Median([.. way.Rates.Select(rate => rate.ServerMicroseconds)]), "F0"),
                Number(Statistics.Median(way.Latencies), "F3"),
                Number(way.AddedTo(ways[0]), "F3"),
                Number(Statistics.Median(way.Outside), "F3"));
        }

        table.Write(output);
        await output.WriteLineAsync().ConfigureAwait(false);
        Check[] checks =
        [
            new("throughput of 64 clients with base64, of the pool", $"{Number(ways[1].ShareOf(ways[0]) * 100, "F1")} %", $">= {Number(minShare * 100, "F0")} %", ways[1].ShareOf(ways[0]) >= minShare),
            new("added median latency on an idle server", $"{Number(ways[1].AddedTo(ways[0]), "F3")} ms", $"<= {Number(AddedLimit, "F1")} ms", ways[1].AddedTo(ways[0]) <= AddedLimit),
            new($"time from start to first answer, median of {Starts}", $"{Number(start, "F0")} ms", "-", true),
            new("tokens of a text", Number(tokens[0].TokenCount.Total, "F0"), "-", true),
        ];
        CheckTable.Write(checks, output);
        return checks.All(check => check.Holds);
    }

    /// <summary>Lets all clients call without a pause.</summary>
    private async Task<Rate> ThroughputAsync(Way way, ServerProcess server, double time)
    {
        int texts = 0;
        TimeSpan client = Environment.CpuUsage.TotalTime;
        TimeSpan served = server.ProcessorTime;
        long begin = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Clients).Select(index => Task.Run(async () =>
        {
            while (Stopwatch.GetElapsedTime(begin).TotalSeconds < time)
            {
                _ = await way.Call(index, Interlocked.Increment(ref nextText)).ConfigureAwait(false);
                _ = Interlocked.Increment(ref texts);
            }
        }))).ConfigureAwait(false);
        double elapsed = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        return new Rate(
            texts / elapsed, (Environment.CpuUsage.TotalTime - client).TotalMicroseconds / texts, (server.ProcessorTime - served).TotalMicroseconds / texts);
    }

    /// <summary>Returns a call over HTTP. Each client has a connection of its own.</summary>
    private static Func<int, int, ValueTask<double?>> HttpCall(ServerProcess server, string encoding)
    {
        var connections = new RawConnection?[Clients];
        EmbeddingRequest[] requests = [.. Enumerable.Range(0, Clients).Select(_ => new EmbeddingRequest(1, encoding, null))];
        return async (client, text) =>
        {
            RawConnection connection = connections[client] ??= await RawConnection.OpenAsync(server.Address, CancellationToken.None).ConfigureAwait(false);
            RawAnswer answer = await connection.SendAsync(requests[client].Next(text), CancellationToken.None).ConfigureAwait(false);
            if (answer.Status != Outcome.Ok)
            {
                throw new BenchException($"The server answered {answer.Status}. {server.LogEnd()}");
            }

            return answer.Timing("queue") + answer.Timing("embed");
        };
    }

    /// <summary>Returns the median time from the start of the process to its first answer, in milliseconds.</summary>
    private async Task<double> StartAsync(string folder, string[] options)
    {
        Progress.Log($"Starting the server {Starts} times.");
        var times = new List<double>();
        for (int i = 0; i < Starts; i++)
        {
            long begin = Stopwatch.GetTimestamp();
            ServerProcess server = await ServerProcess.StartAsync(folder, options).ConfigureAwait(false);
            await using (server.ConfigureAwait(false))
            {
                _ = await HttpCall(server, "base64")(0, Interlocked.Increment(ref nextText)).ConfigureAwait(false);
                times.Add(Stopwatch.GetElapsedTime(begin).TotalMilliseconds);
            }
        }

        return Statistics.Median(times);
    }

    private static string Number(double number, string format) => number.ToString(format, CultureInfo.InvariantCulture);

    /// <summary>The speed of one measurement, and the processor time of a text on both sides.</summary>
    private readonly record struct Rate(double PerSecond, double ClientMicroseconds, double ServerMicroseconds);

    /// <summary>A way to the vectors.</summary>
    /// <param name="Name">Name in the table.</param>
    /// <param name="Call">
    /// Embeds the text of a number for one of the clients. Returns the milliseconds in the pool of the server; <see langword="null"/> without one.
    /// </param>
    private sealed record Way(string Name, Func<int, int, ValueTask<double?>> Call)
    {
        public List<Rate> Rates { get; } = [];

        public List<double> Latencies { get; } = [];

        /// <summary>Gets the milliseconds that each call took outside the pool of its process.</summary>
        public List<double> Outside { get; } = [];

        /// <summary>Returns the median of the ratios of the rounds, both measured in the same round.</summary>
        public double ShareOf(Way other) => Statistics.Median([.. Rates.Zip(other.Rates, (mine, theirs) => mine.PerSecond / theirs.PerSecond)]);

        /// <summary>Returns the median of the differences of calls that followed each other.</summary>
        public double AddedTo(Way other) => Statistics.Median([.. Latencies.Zip(other.Latencies, (mine, theirs) => mine - theirs)]);
    }
}
