using System.CommandLine;
using BenchmarkDotNet.Running;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Commands;

/// <summary>The command <c>micro</c>: runs BenchmarkDotNet over the public API.</summary>
internal static class MicroCommand
{
    public static Command Create()
    {
        var command = new Command(
            "micro",
            """
            Runs BenchmarkDotNet: the cost of a call, packing texts, tokenizing, and embedding with the shipped model. All arguments
            are passed on to BenchmarkDotNet. Without arguments, all benchmarks run.

            Examples:
              micro
              micro --filter *Call* --job short
              micro --list flat
            """)
        {
            TreatUnmatchedTokensAsErrors = false,
        };
        command.SetAction(parsed =>
        {
            string[] arguments = parsed.UnmatchedTokens is { Count: > 0 } given ? [.. given] : ["--filter", "*"];
            var summaries = BenchmarkSwitcher.FromAssembly(typeof(MicroCommand).Assembly).Run(arguments);
            return (int)(summaries.Any(summary => summary.HasCriticalValidationErrors || summary.Reports.Any(report => !report.Success))
                ? ExitCode.Failed
                : ExitCode.Success);
        });
        return command;
    }
}
