using System.CommandLine;

namespace StellaInterop.Bench.Commands;

internal static class QualityCommand
{
    public static Command Create() => new("quality", "x");
}
