using System.Globalization;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Scale.Jobs;
using StellaInterop.Scale.Silos;
using StellaInterop.Scale.Workers;

namespace StellaInterop.Scale.Reporting;

/// <summary>Prints the result of a simulation.</summary>
internal static class ScaleTable
{
    private const double Megabyte = 1e6;

    public static void Write(SimulationResult result, double? othersShare, TextWriter output)
    {
        SimulationOptions options = result.Options;
        MachineInfo machine = MachineInfo.Read();
        string others = othersShare is { } share ? $"; other processes took {Percent(share)} % of the machine" : "";
        output.WriteLine($"{machine.Cpu} ({string.Join(", ", machine.Instructions)}), {machine.Processors} processors");
        output.WriteLine($"{machine.System}, {machine.Runtime}, {DateTime.UtcNow:yyyy-MM-dd HH:mm} UTC{others}");
        output.WriteLine();
        output.WriteLine(
            $"{options.ChunkCount} chunks of {Number(options.WorkTime.TotalSeconds)} s, {options.WorkerCount} workers, {options.SiloCount} silos; "
            + $"each {Number(options.LossTime.TotalSeconds)} s one worker lost, back after {Number(options.ReturnTime.TotalSeconds)} s; seed {options.Seed}");
        output.WriteLine();
        var table = new MarkdownTable("figure", "measured", "of what");
        AddThroughput(table, result);
        AddCalls(table, result);
        AddMemory(table, result);
        AddOutput(table, result);
        table.Write(output);
        output.WriteLine();
        output.WriteLine(Verdict(result));
    }

    private static void AddThroughput(MarkdownTable table, SimulationResult result)
    {
        Throughput throughput = result.Throughput;
        table.Add("chunks/s", Number(throughput.ChunksPerSecond), $"{Number(throughput.Seconds)} s from the start of the workers to the last part");
        table.Add("chunks/s at most", Number(throughput.CeilingPerSecond), $"{Number(throughput.LivingSeconds)} s of living workers, by the mean work time");
        table.Add("share %", Percent(throughput.Ratio), $"at least {Percent(SimulationOptions.LeastShare)} for {SimulationOptions.FullChunkCount} chunks");
        table.Add("lost workers", Number(result.LossCount), "each with its leases, without a word");
        table.Add("tail s", Number(throughput.TailSeconds), "from the last fresh chunk to the last part");
        table.Add("computed %", Percent(throughput.DoneShare), $"living time; {throughput.DoneWorkCount} times a chunk, {Number(throughput.MeanWorkSeconds)} s each");
        table.Add("lost work %", Percent(throughput.LostShare), "living time, in hand when a worker was lost");
        table.Add("start %", Percent(throughput.StartShare), $"living time before the first work; {Number(throughput.MeanStartSeconds)} s each start");
        table.Add("tail %", Percent(throughput.TailShare), "living time without work in the tail");
        table.Add("waiting %", Percent(throughput.WaitShare), "living time without work otherwise");
    }

    private static void AddCalls(MarkdownTable table, SimulationResult result)
    {
        double chunks = result.Options.ChunkCount;
        foreach ((string method, MethodCalls count) in result.Calls.Methods.Where(method => method.Key != nameof(IDirectoryGrain.ListAsync)).OrderByDescending(method => method.Value.All))
        {
            table.Add("grain calls a chunk", Number(count.All / chunks), $"{method}; {Number(count.Remote / chunks)} of them between silos");
        }

        table.Add("failed calls", Number(result.Calls.FailedCalls), "of workers that were not lost");
        table.Add("messages a chunk", Number(result.Calls.Messages / chunks), "between silos, by the meter of Orleans, its own messages included");
        table.Add("bytes a chunk", Number(result.Calls.Bytes / chunks), "of these messages, headers included");
        if (result.Calls.RemoteCalls > 0)
        {
            table.Add("bytes a call", Number((double)result.Calls.Bytes / result.Calls.RemoteCalls), "these bytes, divided by the calls between silos");
        }
    }

    private static void AddMemory(MarkdownTable table, SimulationResult result)
    {
        MemoryFigures memory = result.Memory;
        table.Add("MB of the job", Number(memory.Job / Megabyte), "managed memory that the coordinator adds to its silo");
        table.Add("MB of the silos", Resident(memory.Silos), "resident, anonymous: the process before the job");
        table.Add("MB with the job", Resident(memory.WithJob), "resident, anonymous: with the coordinator");
        table.Add("MB with the workers", Resident(memory.WithWorkers), "resident, anonymous: at the last part, with all workers");
    }

    private static void AddOutput(MarkdownTable table, SimulationResult result)
    {
        table.Add("plan s", Number(result.PlanTime.TotalSeconds), "one node, before the workers start");
        table.Add("final check s", Number(result.CheckTime.TotalSeconds), "one node, from the last part to the end of the job");
        OutputFigures output = result.Output!;
        table.Add("files", Number(output.FileCount), "in the output");
        table.Add("parts", Number(output.PartCount), "of them");
        table.Add("MB of the manifest", Number(output.ManifestBytes / Megabyte), "with the records of all parts");
        table.Add("rows exactly once", output.IsExact ? "yes" : "NO", "in all parts, none at fault");
        table.Add("end", result.Phase.ToString(), "of the job");
    }

    private static string Verdict(SimulationResult result) =>
        !result.Holds ? "NOT KEPT: see the share, the rows and the end above."
        : result.Options.IsFull ? "Kept."
        : $"The output is right. The share is judged from {SimulationOptions.FullChunkCount} chunks on: in this short run, start and tail are too much of it.";

    private static string Resident(ResidentMemory memory) => Number(memory.Anonymous / Megabyte);

    private static string Percent(double share) => Number(share * 100);

    private static string Number(double number) => number.ToString(number >= 1000 || number == Math.Floor(number) ? "F0" : number >= 100 ? "F1" : "F2", CultureInfo.InvariantCulture);
}
