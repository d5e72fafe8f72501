using System.Globalization;
using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Reporting;

/// <summary>Prints the results of a <c>peers</c> run as Markdown.</summary>
internal static class PeersTables
{
    public static void Write(PeersReport report, TextWriter output)
    {
        MachineInfo machine = report.Machine;
        HardwareLimits limits = report.Limits;
        string others = report.OthersShare is { } share ? $"; other processes took {Percent(share)} of the machine" : "";
        output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}), {machine.Processors} processors");
        output.WriteLine($"{machine.System}, {machine.Runtime}, {report.Date:yyyy-MM-dd HH:mm} UTC");
        output.WriteLine($"{report.Model}, {report.Parameters:N0} parameters, {report.Threads} threads, {report.Rounds} rounds{others}");
        output.WriteLine(
            $"limits: f32 {Giga(limits.F32)} GFLOP/s, bf16 {Giga(limits.BF16)}, int8 {Giga(limits.Int8)}, memory {Giga(limits.ReadBytes)} GB/s");
        output.WriteLine();

        var engines = new MarkdownTable("engine", "resident MB", "mapped MB", "load s", "smallest cosine", "largest difference", "implementation");
        foreach (EngineReport engine in report.Engines.Where(engine => engine.Unavailable is null))
        {
            engines.Add(
                engine.Name,
                Megabytes(engine.Resident.Anonymous),
                Megabytes(engine.Resident.Mapped),
                Number(engine.LoadSeconds, "F1"),
                Number(engine.Difference?.Cosine, "F7"),
                Number(engine.Difference?.Largest, "G2"),
                engine.Detail!);
        }

        engines.Write(output);
        foreach (EngineReport engine in report.Engines.Where(engine => engine.Unavailable is not null))
        {
            output.WriteLine();
            output.WriteLine($"{engine.Name} is not available: {engine.Unavailable}");
        }

        foreach (ShapeReport shape in report.Shapes)
        {
            output.WriteLine();
            output.WriteLine($"{shape.Name}: {shape.Texts} texts, {shape.Tokens:N0} tokens");
            output.WriteLine();
            var table = new MarkdownTable("engine", "tokens/s", "min", "max", "latency ms", "ratio", "of the limit", "batches");
            foreach (ShapeResult result in shape.Results)
            {
                table.Add(
                    result.Engine,
                    Number(result.TokensPerSecond, "F0"),
                    Number(result.Slowest, "F0"),
                    Number(result.Fastest, "F0"),
                    Number(result.MedianSeconds * 1000, "F1"),
                    result.Ratio is { } ratio ? $"{Number(ratio, "F2")} x {result.BestPeer}" : "",
                    result.ShareOfLimit is { } part ? Percent(part) : "-",
                    result.Batching);
            }

            table.Write(output);
        }
    }

    private static string Number(double? number, string format) => number?.ToString(format, CultureInfo.InvariantCulture) ?? "-";

    private static string Giga(double? number) => Number(number / 1e9, "F1");

    private static string Megabytes(long bytes) => Number(bytes / 1e6, "F0");

    private static string Percent(double part) => $"{Number(part * 100, "F0")} %";
}
