using System.Text;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>The way to the terminal: everything for people passes here, so that no foreign text controls it.</summary>
internal static class Output
{
    /// <summary>
    /// Puts the escaping, and streams with a defined behaviour, before standard output and standard error. JSON goes past the
    /// escaping: its writer escapes by itself.
    /// </summary>
    public static void Protect()
    {
#pragma warning disable CA2000 // They live as long as the process.
        Console.SetOut(new PrintableWriter(StandardStreams.TextWriter(StandardStreams.OpenOutput())));
        Console.SetError(new PrintableWriter(StandardStreams.TextWriter(StandardStreams.OpenError())));
#pragma warning restore CA2000
    }

    /// <summary>Writes one line of a result. A line break in it is escaped.</summary>
    public static void Result(string line) => Console.WriteLine(Printable.Line(line));

    /// <summary>Writes one line for the person who watches. A line break in it is escaped.</summary>
    public static void Note(string line) => Console.Error.WriteLine(Printable.Line(line));

    /// <summary>Escapes what passes, except for line breaks and tabs.</summary>
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
