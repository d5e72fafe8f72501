using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures <c>stella bulk</c> beside a pool that embeds the same texts from memory, and checks the ids of its output.</summary>
internal sealed class BulkRun(BulkRunSettings settings, Action<string> log)
{
    private readonly string modelFolder = settings.Model ?? StellaMiniModel.Path;

    /// <summary>Measures all rounds and prints the table.</summary>
    /// <returns>Whether all figures are within their limits.</returns>
    public bool Run(TextWriter output, CancellationToken cancellationToken)
    {
        DirectoryInfo work = Directory.CreateTempSubdirectory("stella-bulk-");
        try
        {
            IReadOnlyList<BulkSummary> summaries = Measure(work.FullName, cancellationToken);
            MachineInfo machine = MachineInfo.Read();
            output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}); {machine.Processors} processors; {machine.System}, {machine.Runtime}; {DateTime.UtcNow:yyyy-MM-dd}");
            output.WriteLine($"{settings.Rows} rows of {settings.Words} words, {summaries[0].TokensPerRow:F1} tokens a row; {settings.Rounds} rounds");
            output.WriteLine();
            return Report(summaries, output);
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private IReadOnlyList<BulkSummary> Measure(string work, CancellationToken cancellationToken)
    {
        var texts = new RandomTexts(modelFolder, settings.Words);
        foreach (BulkInput input in settings.Inputs)
        {
            log($"Writing {input.FileName}.");
            input.Write(texts.Take(settings.Rows), Path.Combine(work, input.FileName));
        }

        var pools = new List<PoolCost>();
        List<BulkCost>[] costs = [.. settings.Inputs.Select(_ => new List<BulkCost>())];
        List<PartIds>[] ids = [.. settings.Inputs.Select(_ => new List<PartIds>())];
        Action[] ways = [.. settings.Inputs.Select<BulkInput, Action>((_, i) => () => Embed(i)), .. settings.HasPool ? new Action[] { EmbedWithPool } : []];
        for (int round = 0; round < settings.Rounds; round++)
        {
            // Each round begins with another way, because the clock of a processor changes with its temperature.
            for (int i = 0; i < ways.Length; i++)
            {
                ways[(i + round) % ways.Length]();
            }
        }

        return [.. costs.Select((cost, i) => new BulkSummary(settings.Rows, cost, pools, ids[i]))];

        void Embed(int index)
        {
            BulkInput input = settings.Inputs[index];
            string folder = Path.Combine(work, $"{input.Name}-vectors");
            BulkCost cost = BulkProcess.Run(Path.Combine(work, input.FileName), folder, settings.Model, cancellationToken);
            log($"{input.Name}: {settings.Rows / cost.Seconds:F0} rows/s, {cost.ProcessorSeconds:F1} s of processor time, peak {cost.PeakBytes / 1e6:F0} MB.");
            costs[index].Add(cost);
            ids[index].Add(PartIds.Read(folder, settings.Rows));
            Directory.Delete(folder, recursive: true);
        }

        void EmbedWithPool()
        {
            PoolCost cost = PoolRun.RunInNewProcess(modelFolder, settings.Rows, settings.Words, cancellationToken);
            log($"pool: {settings.Rows / cost.Seconds:F0} rows/s, {cost.ProcessorSeconds:F1} s of processor time.");
            pools.Add(cost);
        }
    }

    private bool Report(IReadOnlyList<BulkSummary> summaries, TextWriter output)
    {
        var table = new MarkdownTable("input", "rows/s", "of the pool", "min", "max", "us/row", "of the pool", "start and plan, s", "peak, MB", "ids");
        for (int i = 0; i < summaries.Count; i++)
        {
            BulkSummary summary = summaries[i];
            table.Add(
                settings.Inputs[i].Name,
                $"{summary.RowsPerSecond:F0}",
                Percent(summary.Shares, Statistics.Median),
                Percent(summary.Shares, Enumerable.Min),
                Percent(summary.Shares, Enumerable.Max),
                $"{summary.ProcessorMicroseconds:F1}",
                Percent(summary.ProcessorShares, Statistics.Median),
                $"{summary.PlanningSeconds:F1}",
                $"{summary.PeakBytes / 1e6:F0}",
                summary.HasAllIds ? "each once" : "NOT each once");
        }

        table.Write(output);
        bool holds = true;
        for (int i = 0; i < summaries.Count; i++)
        {
            foreach (string failure in summaries[i].Failures())
            {
                output.WriteLine($"{settings.Inputs[i].Name}: {failure}.");
                holds = false;
            }
        }

        return holds;
    }

    private static string Percent(IReadOnlyList<double> shares, Func<IReadOnlyList<double>, double> choose) =>
        shares.Count == 0 ? "-" : $"{choose(shares):0.0 %}";
}

/// <summary>The settings of a run.</summary>
/// <param name="Model">The model folder; <see langword="null"/> for the shipped model.</param>
/// <param name="Rows">The number of rows.</param>
/// <param name="Words">The number of words of a row.</param>
/// <param name="Inputs">The forms of the input.</param>
/// <param name="Rounds">The number of rounds.</param>
/// <param name="HasPool">Whether the pool is measured in each round.</param>
internal sealed record BulkRunSettings(string? Model, int Rows, WordRange Words, IReadOnlyList<BulkInput> Inputs, int Rounds, bool HasPool);
