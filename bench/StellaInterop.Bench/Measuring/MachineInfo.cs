using System.Runtime.InteropServices;

namespace StellaInterop.Bench.Measuring;

/// <summary>The machine of a measurement.</summary>
/// <param name="Cpu">Name, family and model of the processor.</param>
/// <param name="Instructions">Vector and matrix instruction sets, by their names in /proc/cpuinfo.</param>
/// <param name="Processors">Number of processors that the process may use.</param>
/// <param name="MemoryBytes">Bytes of memory that the process may use.</param>
/// <param name="System">The operating system.</param>
/// <param name="Runtime">The .NET runtime.</param>
internal sealed record MachineInfo(
    string Cpu, IReadOnlyList<string> Instructions, int Processors, long MemoryBytes, string System, string Runtime)
{
    private const string Source = "/proc/cpuinfo";

    private static readonly string[] InstructionSets = ["avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"];

    public static MachineInfo Read()
    {
        Dictionary<string, string> first = File.Exists(Source)
            ? File.ReadLines(Source).TakeWhile(line => line.Length > 0)
                .Select(line => line.Split(':', 2, StringSplitOptions.TrimEntries))
                .ToDictionary(pair => pair[0], pair => pair[^1])
            : [];
        string cpu = first.TryGetValue("model name", out string? name)
            ? $"{name}, family {first["cpu family"]}, model {first["model"]}"
            : RuntimeInformation.ProcessArchitecture.ToString();
        string[] flags = first.GetValueOrDefault("flags", string.Empty).Split(' ');
        return new MachineInfo(
            cpu,
            [.. InstructionSets.Intersect(flags)],
            Environment.ProcessorCount,
            GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
            RuntimeInformation.OSDescription,
            RuntimeInformation.FrameworkDescription);
    }
}
