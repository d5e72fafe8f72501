using System.Text;
using Spectre.Console;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>
/// Spectre.Console on standard error; standard output belongs to results. It paints with control characters, so it goes past
/// <see cref="Output"/>, and whoever gives it a name escapes that first.
/// </summary>
internal static class ErrorConsole
{
    public static IAnsiConsole Create() => AnsiConsole.Create(new AnsiConsoleSettings { Out = new StandardError() });

    /// <summary>Standard error as it is. The library knows a terminal only by the writer of the console, which escapes.</summary>
    private sealed class StandardError : IAnsiConsoleOutput
    {
        /// <summary>The size where the terminal does not tell its own.</summary>
        private static readonly (int Width, int Height) Usual = (80, 24);

        public TextWriter Writer { get; } = StandardStreams.TextWriter(StandardStreams.OpenError());

        public bool IsTerminal => !Console.IsErrorRedirected;

        public int Width => Size(static () => Console.BufferWidth, Usual.Width);

        public int Height => Size(static () => Console.WindowHeight, Usual.Height);

        public void SetEncoding(Encoding encoding)
        {
        }

        private static int Size(Func<int> ask, int usual)
        {
            try
            {
                return ask() is > 0 and var size ? size : usual;
            }
            catch (IOException)
            {
                return usual;
            }
        }
    }
}
