using System.Text;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Terminal;

/// <summary>
/// Writes text for people to the terminal, escaped, so that text of files and servers cannot control the terminal.
/// </summary>
internal static class ConsoleOutput
{
    /// <summary>
    /// Replaces the writers of the console by writers that escape, over streams whose errors are defined. JSON does not pass
    /// through them, because its writer escapes by itself.
    /// </summary>
    public static void Redirect()
    {
#pragma warning disable CA2000 // The writers live as long as the process.
        Console.SetOut(new PrintableWriter(StandardStreams.CreateTextWriter(StandardStreams.OpenOutput())));
        Console.SetError(new PrintableWriter(StandardStreams.CreateTextWriter(StandardStreams.OpenError())));
#pragma warning restore CA2000
    }

    /// <summary>Writes one line of a result to standard output. A line break in the text is escaped.</summary>
    public static void WriteResult(string line) => Console.WriteLine(Printable.Line(line));

    /// <summary>Writes one line for the user to standard error. A line break in the text is escaped.</summary>
    public static void WriteMessage(string line) => Console.Error.WriteLine(Printable.Line(line));

    /// <summary>Escapes all text except for line breaks and tabs.</summary>
    private sealed class PrintableWriter(TextWriter inner) : TextWriter(inner.FormatProvider)
    {
        public override Encoding Encoding => inner.Encoding;

        public override void Write(char value) => Write(value.ToString());

        public override void Write(char[] buffer, int index, int count) => Write(new string(buffer, index, count));

        public override void Write(ReadOnlySpan<char> buffer) => Write(buffer.ToString());

        public override void Write(string? value) => inner.Write(Printable.Lines(value ?? ""));

        public override void WriteLine(string? value) => inner.WriteLine(Printable.Lines(value ?? ""));

        public override void Flush() => inner.Flush();
    }
}
