using System.Text;
using Spectre.Console;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Terminal;

/// <summary>
/// Provides Spectre.Console on standard error, because standard output is for results. Spectre.Console paints with control
/// characters and therefore bypasses <see cref="ConsoleOutput"/>, so callers must escape every text that they pass to it.
/// </summary>
internal static class ErrorConsole
{
    public static IAnsiConsole Create() => AnsiConsole.Create(new AnsiConsoleSettings { Out = new StandardError() });

    /// <summary>
    /// Provides standard error without escaping. Spectre.Console would detect the terminal only through the writer of the console,
    /// which escapes.
    /// </summary>
    private sealed class StandardError : IAnsiConsoleOutput
    {
        /// <summary>The size if the terminal does not report its own.</summary>
        private static readonly (int Width, int Height) DefaultSize = (80, 24);

        public TextWriter Writer { get; } = StandardStreams.CreateTextWriter(StandardStreams.OpenError());

        public bool IsTerminal => !Console.IsErrorRedirected;

        public int Width => GetSize(static () => Console.BufferWidth, DefaultSize.Width);

        public int Height => GetSize(static () => Console.WindowHeight, DefaultSize.Height);

        public void SetEncoding(Encoding encoding)
        {
        }

        private static int GetSize(Func<int> query, int defaultSize)
        {
            try
            {
                return query() is > 0 and var size ? size : defaultSize;
            }
            catch (IOException)
            {
                return defaultSize;
            }
        }
    }
}
