using System.CommandLine;
using System.CommandLine.Invocation;
using Microsoft.ML.OnnxRuntime;
using StellaInterop;
using StellaInterop.Bench.Commands;
using StellaInterop.Bench.Terminal;

var root = new RootCommand(
    """
    Measures StellaInterop: its speed beside other engines, its parts, and the loss of quality in lower precisions.

    Exit codes: 0 success, 1 failure or a figure outside its limit, 2 wrong usage, 130 interrupted.
    """)
{
    PeersCommand.Create(),
    QualityCommand.Create(),
    TokenizingCommand.Create(),
    FilesCommand.Create(),
    BulkCommand.Create(),
    MicroCommand.Create(),
    SynthesizeCommand.Create(),
    ResidentCommand.Create(),
    PoolCommand.Create(),
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
    // Cancellation lets a running forward pass end first, because it uses the memory of its model.
    var invocation = new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = TimeSpan.FromMinutes(1),
    };
    return await parsed.InvokeAsync(invocation).ConfigureAwait(false);
}
catch (OperationCanceledException)
{
    Progress.Log("Interrupted.");
    return (int)ExitCode.Interrupted;
}
catch (Exception e) when (e is BenchException or StellaException or OnnxRuntimeException or IOException or UnauthorizedAccessException)
{
    await Console.Error.WriteLineAsync($"error: {e.Message}").ConfigureAwait(false);
    return (int)ExitCode.Failed;
}
