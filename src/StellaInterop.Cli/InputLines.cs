using System.Text;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>A line of an input, without its end.</summary>
/// <param name="Bytes">The bytes. The next line takes their memory.</param>
/// <param name="Number">The number of the line, from 1.</param>
internal readonly record struct InputLine(ReadOnlyMemory<byte> Bytes, long Number);

/// <summary>Cuts an input into lines, in the memory of its longest line.</summary>
internal sealed class InputLines(ReadAhead input)
{
    /// <summary>
    /// The longest line. A text of this length is cut at a small part of it in any case, so a longer one is a file without line ends.
    /// </summary>
    public const int MaxBytes = 64 << 20;

    private readonly List<byte> beginning = [];

    /// <summary>Returns the lines, and <see langword="null"/> whenever the rest of the next line has not arrived yet.</summary>
    /// <exception cref="CliException">A line is too long, or is not UTF-8.</exception>
    public IEnumerable<InputLine?> Read(CancellationToken cancellationToken)
    {
        byte[] buffer = [];
        int start = 0, end = 0, searched = 0;
        long number = 1;
        while (true)
        {
            int newline = buffer.AsSpan(searched..end).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                newline += searched;
                yield return LineOf(buffer.AsMemory(start..newline), number++);
                start = searched = newline + 1;
                continue;
            }

            ThrowIfTooLong(end - start, number);
            if (!input.IsReady)
            {
                yield return null;
            }

            ReadOnlyMemory<byte> block = input.Next(cancellationToken);
            if (block.IsEmpty)
            {
                break;
            }

            if (beginning.Count < InputEncoding.SampleBytes)
            {
                beginning.AddRange(block.Span[..Math.Min(block.Length, InputEncoding.SampleBytes - beginning.Count)]);
            }

            if (buffer.Length - end < block.Length)
            {
                // The rest is the beginning of a line. It moves to the front, of a larger buffer if it fills this one.
                int kept = end - start;
                byte[] target = buffer.Length - kept >= block.Length ? buffer : new byte[Math.Max(2 * buffer.Length, kept + block.Length)];
                buffer.AsSpan(start..end).CopyTo(target);
                (buffer, start, end) = (target, 0, kept);
            }

            searched = end;
            block.Span.CopyTo(buffer.AsSpan(end));
            end += block.Length;
        }

        if (end > start)
        {
            yield return LineOf(buffer.AsMemory(start..end), number);
        }
    }

    /// <summary>Returns the error of a line, which names the encoding of the input if it is known.</summary>
    /// <param name="line">The number of the line.</param>
    /// <param name="message">The sentence for an input whose encoding is not known.</param>
    public CliException Fault(long line, string message) => new(
        ExitCode.BadInput,
        $"Line {line}: {(InputEncoding.Recognize(beginning.ToArray()) is { } encoding ? InputEncoding.Advice(encoding) : message)}");

    private void ThrowIfTooLong(int length, long number)
    {
        if (length > MaxBytes)
        {
            throw Fault(number, $"it is longer than {MaxBytes} bytes, the limit of a line. Does the input have line ends?");
        }
    }

    /// <summary>Takes the carriage return of Windows from the end, and the byte order mark from the first line.</summary>
    private InputLine LineOf(ReadOnlyMemory<byte> line, long number)
    {
        ThrowIfTooLong(line.Length, number);
        if (number == 1)
        {
            if (InputEncoding.ByMark(line.Span) is { } encoding)
            {
                throw Fault(number, InputEncoding.Advice(encoding));
            }

            if (line.Span.StartsWith(Encoding.UTF8.Preamble))
            {
                line = line[Encoding.UTF8.Preamble.Length..];
            }
        }

        return new InputLine(line.Span.EndsWith("\r"u8) ? line[..^1] : line, number);
    }
}
