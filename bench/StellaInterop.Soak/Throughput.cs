using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;

namespace StellaInterop.Soak;

/// <summary>Measures the overhead of a pool against the model alone, within one run.</summary>
internal sealed class Throughput(string folder, StellaModelOptions modelOptions)
{
    private const int Callers = 64;
    private const int Rounds = 5;
    private const int Texts = 256;
    private const int Calls = 400;

    public async Task RunAsync(TextWriter output)
    {
        MachineInfo machine = MachineInfo.Read();
        var load = new MachineLoad();
        string[] texts = [.. Enumerable.Range(0, Texts).Select(i => $"How do I reset password number {i} if I have no access to my mail?")];
        var table = new MarkdownTable("measurement", "measured", "target");
        await OneModelAsync(texts, table).ConfigureAwait(false);
        await WorkersAsync(texts, table).ConfigureAwait(false);
        await output.WriteLineAsync($"{machine.Cpu}, {machine.Processors} processors; other processes took {load.OthersShare() * 100:F0} %").ConfigureAwait(false);
        await output.WriteLineAsync().ConfigureAwait(false);
        table.Write(output);
    }

    private static async Task<double> SecondsAsync(Func<Task> work)
    {
        long begin = Stopwatch.GetTimestamp();
        await work().ConfigureAwait(false);
        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
    }

    /// <summary>Runs many callers with one text per call. Each makes its next call once the last is answered.</summary>
    private static Task CallAsync(StellaEmbeddingPool pool, string[] texts) =>
        Task.WhenAll(Enumerable.Range(0, Callers).Select(caller => Task.Run(async () =>
        {
            for (int i = caller; i < texts.Length; i += Callers)
            {
                _ = await pool.EmbedAsync(texts[i]).ConfigureAwait(false);
            }
        })));

    private async Task OneModelAsync(string[] texts, MarkdownTable table)
    {
        using StellaModel model = await StellaModel.LoadAsync(folder, modelOptions).ConfigureAwait(false);
        var pool = new StellaEmbeddingPool(folder, modelOptions);
        await using (pool.ConfigureAwait(false))
        {
            _ = await pool.WarmUpAsync().ConfigureAwait(false);
            var ratios = new List<double>();
            for (int round = 0; round < Rounds; round++)
            {
                double oneCall = await SecondsAsync(() => pool.EmbedAsync(texts)).ConfigureAwait(false);
                double manyCalls = await SecondsAsync(() => CallAsync(pool, texts)).ConfigureAwait(false);
                ratios.Add(oneCall / manyCalls);
            }

            table.Add(
                $"texts/s of {Callers} callers with one text each, relative to one call with all texts", Percent(ScenarioRun.Percentile(ratios, 0.5)), ">= 90 %");

            float[] vector = new float[model.Info.DefaultDimension];
            string[] one = [texts[0]];
            List<double> alone = [];
            List<double> pooled = [];
            for (int i = 0; i < Calls; i++)
            {
                long begin = Stopwatch.GetTimestamp();
                model.Embed(one, vector);
                alone.Add(Stopwatch.GetElapsedTime(begin).TotalMicroseconds);
                begin = Stopwatch.GetTimestamp();
                _ = await pool.EmbedAsync(one, vector).ConfigureAwait(false);
                pooled.Add(Stopwatch.GetElapsedTime(begin).TotalMicroseconds);
            }

            double added = ScenarioRun.Percentile(pooled, 0.5) - ScenarioRun.Percentile(alone, 0.5);
            table.Add(
                $"added latency of a call on an idle pool over the model alone ({Number(ScenarioRun.Percentile(alone, 0.5))} us)",
                $"{Number(added)} us",
                "<= 100 us");
        }
    }

    private async Task WorkersAsync(string[] texts, MarkdownTable table)
    {
        long oneWorkerBytes = 0;
        foreach (var (workers, threads) in new[] { (1, 2), (2, 1), (1, 1), (4, 1) })
        {
            long before = ResidentMemory.Measure().Anonymous;
            var pool = new StellaEmbeddingPool(folder, modelOptions with { Threads = threads }, new StellaPoolOptions
            {
                MinWorkers = workers,
                MaxWorkers = workers,
            });
            await using (pool.ConfigureAwait(false))
            {
                _ = await pool.WarmUpAsync().ConfigureAwait(false);
                await CallAsync(pool, texts).ConfigureAwait(false);
                List<double> seconds = [];
                for (int round = 0; round < Rounds; round++)
                {
                    seconds.Add(await SecondsAsync(() => CallAsync(pool, texts)).ConfigureAwait(false));
                }

                List<double> latency = [];
                for (int i = 0; i < 50; i++)
                {
                    latency.Add(await SecondsAsync(() => pool.EmbedAsync(texts[i])).ConfigureAwait(false));
                }

                long bytes = ResidentMemory.Measure().Anonymous - before;
                oneWorkerBytes = threads == 1 && workers == 1 ? bytes : oneWorkerBytes;
                table.Add(
                    $"{workers} workers of {threads} threads: texts/s of {Callers} callers; latency of one call; anonymous memory",
                    $"{Number(texts.Length / ScenarioRun.Percentile(seconds, 0.5))}/s; {Number(ScenarioRun.Percentile(latency, 0.5) * 1e6)} us; {Number(bytes / 1e6)} MB",
                    workers == 4 ? $"memory < 1.1 x one worker: {(bytes / (double)oneWorkerBytes).ToString("F2", CultureInfo.InvariantCulture)}" : "");
            }
        }
    }

    private static string Number(double number) => number.ToString("F0", CultureInfo.InvariantCulture);

    private static string Percent(double part) => Number(part * 100) + " %";
}
