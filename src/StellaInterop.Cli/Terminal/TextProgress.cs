using System.CommandLine;
using Spectre.Console;

namespace StellaInterop.Cli.Terminal;

/// <summary>Reports the progress of a command over many texts.</summary>
/// <param name="ReportDone">Receives the number of texts that are done.</param>
/// <param name="WriteMessage">Writes a line to standard error.</param>
internal sealed record TextProgress(Action<int> ReportDone, Action<string> WriteMessage)
{
    /// <summary>
    /// Runs <paramref name="work"/> and shows the number of texts that it reports as done. The number is shown only if standard
    /// error is a terminal and standard output is not.
    /// </summary>
    public static void Show(ParseResult parsed, Action<TextProgress> work)
    {
        bool isShown = VerbosityOption.Instance.Get(parsed) != Verbosity.Quiet
            && Console.IsOutputRedirected
            && !Console.IsErrorRedirected;
        if (!isShown)
        {
            work(new TextProgress(_ => { }, ConsoleOutput.WriteMessage));
            return;
        }

        IAnsiConsole console = ErrorConsole.Create();
        console.Status().Start("loading the model", status => work(new TextProgress(
            done => status.Status($"{done:N0} texts"),
            // The status is painted on the current line, and only its own console can write above it.
            line => console.WriteLine(Printable.Line(line)))));
    }
}
