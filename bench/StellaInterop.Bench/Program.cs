using System.CommandLine;
using System.CommandLine.Invocation;
using Microsoft.ML.OnnxRuntime;
using StellaInterop;
using StellaInterop.Bench;
using StellaInterop.Bench.Commands;

var root = new RootCommand(
    """
    Measures StellaInterop: its speed beside others, its parts, and what lower precisions cost in quality.

    Exit codes: 0 good, 1 failed or outside a limit, 2 wrong usage, 130 stopped.
    """)
{
    PeersCommand.Create(),
    QualityCommand.Create(),
    TokenizingCommand.Create(),
    MicroCommand.Create(),
    SynthesizeCommand.Create(),
    ResidentCommand.Create(),
};

ParseResult parsed = root.Parse(args.Length == 0 ? ["--help"] : args, new ParserConfiguration { ResponseFileTokenReplacer = null });
if (parsed.Action is ParseErrorAction)
{
    foreach (var error in parsed.Errors)
    {
        await Console.Error.WriteLineAsync($"error: {error.Message}").ConfigureAwait(false);
    }

    string command = parsed.CommandResult.Command == root ? "" : $"{parsed.CommandResult.Command.Name} ";
    await Console.Error.WriteLineAsync($"Try: {command}--help").ConfigureAwait(false);
    return (int)ExitCode.Usage;
}

try
{
    // A forward that is running ends first: it holds the memory of its model.
    var invocation = new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = TimeSpan.FromMinutes(1),
    };
    return await parsed.InvokeAsync(invocation).ConfigureAwait(false);
}
catch (OperationCanceledException)
{
    Progress.Say("stopped");
    return (int)ExitCode.Stopped;
}
catch (Exception e) when (e is BenchException or StellaException or OnnxRuntimeException or IOException or UnauthorizedAccessException)
{
    await Console.Error.WriteLineAsync($"error: {e.Message}").ConfigureAwait(false);
    return (int)ExitCode.Failed;
}
