using System.CommandLine;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using StellaInterop.Cli.Commands;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Streams;
using StellaInterop.Cli.Terminal;

ConsoleOutput.Redirect();
var root = new RootCommand(
    """
    Computes text embeddings with a Stella v5 model on this machine.

    Examples:
      stella similarity "reset my password" "recover account access" "banana bread"
      stella embed "one text" "another" --dimension 256
      stella embed --input texts.txt > vectors.jsonl
      stella info
      stella bulk texts.jsonl --output vectors
      stella serve
      stella download NovaSearch/stella_en_400M_v5
      stella embed "one text" --model NovaSearch/stella_en_400M_v5

    Exit codes: 0 success, 2 wrong usage or unreadable input, 3 model refused, missing or damaged, 4 bad input text,
    5 server not reached or request refused, 6 standard output cannot be written, 141 the reader of standard output left,
    130 interrupted (SIGINT), 143 terminated (SIGTERM), 1 any other error.
    """)
{
    EmbedCommand.Create(),
    BulkCommand.Create(),
    NodeCommand.Create(),
    JobsCommand.Create(),
    SimilarityCommand.Create(),
    TokenizeCommand.Create(),
    InfoCommand.Create(),
    ServeCommand.Create(),
    KeysCommand.Create(),
    DownloadCommand.Create(),
    VerifyCommand.Create(),
    ManifestCommand.Create(),
};

// Response files are off, because a text may start with '@'.
ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
string[] errors = [.. parsed.Errors.Select(error => error.Message)];
if (errors.Length == 0 && UnknownOption.Find(parsed) is { } option)
{
    errors = [$"Unknown option '{option}'. Put a text that starts with a dash after --."];
}

if (parsed.Action is ParseErrorAction || errors.Length > 0)
{
    foreach (string error in errors)
    {
        ErrorReport.Write(error);
    }

    string command = "";
    for (CommandResult? each = parsed.CommandResult; each is not null && each.Command != root; each = each.Parent as CommandResult)
    {
        command = $" {each.Command.Name}{command}";
    }

    await Console.Error.WriteLineAsync($"Try: stella{command} --help").ConfigureAwait(false);
    return (int)ExitCode.Usage;
}

// A server, a node and a bulk job outlive the reader of their lines, and leave their work in order before they end. Kubernetes kills a
// process after 30 seconds.
using var stop = parsed.CommandResult.Command.Name is ServeCommand.Name or NodeCommand.Name or BulkCommand.Name
    ? new CommandStop(TimeSpan.FromSeconds(28), watchesReader: false)
    : new CommandStop(TimeSpan.FromSeconds(2), watchesReader: true);
try
{
    // No termination timeout, because CommandStop handles signals.
    var configuration = new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null };
    return await parsed.InvokeAsync(configuration, stop.Token).ConfigureAwait(false);
}
#pragma warning disable CA1031 // Every error becomes a message and an exit code.
catch (Exception e)
#pragma warning restore CA1031
{
    return (int)ErrorReport.Write(e, stop.Reason, VerbosityOption.Instance.Get(parsed));
}
