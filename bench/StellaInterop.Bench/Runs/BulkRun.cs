using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Sources;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures <c>stella bulk</c> beside a pool that embeds the same texts from memory, and checks the ids of its output.</summary>
internal sealed class BulkRun(BulkRunSettings settings, Action<string> log)
{
    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(1);

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

        List<BulkCost>[] costs = [.. settings.Inputs.Select(_ => new List<BulkCost>())];
        List<PartIds>[] ids = [.. settings.Inputs.Select(_ => new List<PartIds>())];
        var pools = new List<BulkCost>();
        for (int round = 0; round < settings.Rounds; round++)
        {
            log($"Round {round + 1} of {settings.Rounds}.");
            BulkCost[] measured = MeasureInTurn(work, cancellationToken);
            for (int i = 0; i < costs.Length; i++)
            {
                string folder = OutputOf(work, settings.Inputs[i]);
                costs[i].Add(measured[i]);
                ids[i].Add(PartIds.Read(folder, settings.Rows));
                Directory.Delete(folder, recursive: true);
                Log(settings.Inputs[i].Name, measured[i]);
            }

            if (settings.HasPool)
            {
                pools.Add(measured[^1]);
                Log("pool", measured[^1]);
            }
        }

        return [.. costs.Select((cost, i) => new BulkSummary(settings.Rows, cost, pools, ids[i]))];
    }

    /// <summary>
    /// Runs the jobs and the pool in turn, each for a short time while the others are stopped. The clock of a virtual processor changes within a
    /// minute by more than the figures differ, and so changes for all of them alike.
    /// </summary>
    private BulkCost[] MeasureInTurn(string work, CancellationToken cancellationToken)
    {
        var processes = new List<EventProcess>();
        try
        {
            string[] model = settings.Model is { } folder ? ["--model", folder] : [];
            foreach (BulkInput input in settings.Inputs)
            {
                processes.Add(EventProcess.Start(
                    StellaTool.Command("bulk", [Path.Combine(work, input.FileName), "--output", OutputOf(work, input), "--json-progress", .. model]), "`stella bulk`"));
            }

            if (settings.HasPool)
            {
                processes.Add(EventProcess.Start(OwnProcess.Command(PoolRun.CommandName, modelFolder, $"{settings.Rows}", $"{settings.Words}"), "The pool"));
            }

            while (processes.Any(process => !process.HasEnded))
            {
                foreach (EventProcess process in processes.Where(process => !process.HasEnded))
                {
                    process.TakeTurn(Turn, cancellationToken);
                }
            }

            return [.. processes.Select(process => process.Complete())];
        }
        finally
        {
            processes.ForEach(process => process.Dispose());
        }
    }

    private void Log(string name, BulkCost cost) =>
        log($"{name}: {settings.Rows / cost.Seconds:F0} rows/s, {cost.ProcessorSeconds:F1} s of processor time, peak {cost.PeakBytes / 1e6:F0} MB.");

    private static string OutputOf(string work, BulkInput input) => Path.Combine(work, $"{input.Name}-vectors");

    private bool Report(IReadOnlyList<BulkSummary> summaries, TextWriter output)
    {
        var table = new MarkdownTable("input", "rows/s", "of the pool", "min", "max", "us/row", "of the pool", "start, s", "peak, MB", "ids");
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
                $"{summary.StartSeconds:F1}",
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
