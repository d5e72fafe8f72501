using System.CommandLine;
using System.CommandLine.Invocation;
using StellaInterop.Cli;
using StellaInterop.Cli.Commands;
using StellaInterop.Cli.Streams;

Output.Protect();
var root = new RootCommand(
    """
    Turns text into vectors with a Stella v5 model, on this machine.

    Examples:
      stella similarity "reset my password" "recover account access" "banana bread"
      stella embed "one text" "another" --dimension 256
      stella embed --input texts.txt > vectors.jsonl
      stella info
      stella download NovaSearch/stella_en_400M_v5
      stella embed "one text" --model NovaSearch/stella_en_400M_v5

    Exit codes: 0 good, 2 wrong usage or an input that cannot be read, 3 model refused or damaged, 4 bad input text,
    5 server not reached or refusing, 6 standard output cannot be written, 141 its reader left, 130 interrupted (SIGINT),
    143 terminated (SIGTERM), 1 anything else.
    """)
{
    EmbedCommand.Create(),
    SimilarityCommand.Create(),
    TokenizeCommand.Create(),
    InfoCommand.Create(),
    DownloadCommand.Create(),
    VerifyCommand.Create(),
    ManifestCommand.Create(),
};

// A text may begin with '@' and be nothing but a text.
ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
string[] errors = [.. parsed.Errors.Select(error => error.Message)];
if (errors.Length == 0 && UnknownOption.Find(parsed) is { } option)
{
    errors = [$"'{option}' is no option of this command. A text that begins with a dash stands after --."];
}

if (parsed.Action is ParseErrorAction || errors.Length > 0)
{
    foreach (string error in errors)
    {
        ErrorReport.Write(error);
    }

    string command = parsed.CommandResult.Command == root ? "stella" : $"stella {parsed.CommandResult.Command.Name}";
    await Console.Error.WriteLineAsync($"Try: {command} --help").ConfigureAwait(false);
    return (int)ExitCode.Usage;
}

using var stop = new CommandStop();
try
{
    // The time-out is for signals, which CommandStop handles.
    var configuration = new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
    return await parsed.InvokeAsync(configuration, stop.Token).ConfigureAwait(false);
}
#pragma warning disable CA1031 // The last line of defence: whatever it was becomes a message and an exit code.
catch (Exception e)
#pragma warning restore CA1031
{
    return (int)ErrorReport.Write(e, stop.Reason, verbose: ModelArguments.Verbosity.Get(parsed) == Verbosity.Debug);
}
