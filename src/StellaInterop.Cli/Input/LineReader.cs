using System.Text;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Input;

/// <summary>Represents a line of an input without its line end.</summary>
/// <param name="Bytes">The bytes, valid until the next line is read.</param>
/// <param name="Number">The number of the line, from 1.</param>
internal readonly record struct InputLine(ReadOnlyMemory<byte> Bytes, long Number);

/// <summary>Splits an input into lines. The memory is bounded by the longest line.</summary>
internal sealed class LineReader(ReadAhead input)
{
    /// <summary>
    /// The maximum length of a line. The model truncates a text to a small part of this length, so a longer line means that the
    /// file has no line ends.
    /// </summary>
    public const int MaxBytes = 64 << 20;

    /// <summary>The first bytes of the input, for <see cref="EncodingDetector"/>.</summary>
    private readonly List<byte> sample = [];

    /// <summary>Returns the lines, and <see langword="null"/> each time the rest of the next line has not arrived yet.</summary>
    /// <exception cref="CliException">
    /// A line is too long, or the input starts with a byte order mark other than that of UTF-8.
    /// </exception>
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
                yield return CreateLine(buffer.AsMemory(start..newline), number++);
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

            if (sample.Count < EncodingDetector.SampleBytes)
            {
                sample.AddRange(block.Span[..Math.Min(block.Length, EncodingDetector.SampleBytes - sample.Count)]);
            }

            if (buffer.Length - end < block.Length)
            {
                // Move the incomplete line to the front of the buffer, or to a larger buffer if the block does not fit.
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
            yield return CreateLine(buffer.AsMemory(start..end), number);
        }
    }

    /// <summary>Creates the error of a line. If the input is in UTF-16 or UTF-32, the message names the encoding instead.</summary>
    /// <param name="line">The number of the line.</param>
    /// <param name="message">The message for an input in any other encoding.</param>
    public CliException CreateError(long line, string message) => new(
        ExitCode.BadInput,
        $"Line {line}: {(EncodingDetector.Detect(sample.ToArray()) is { } encoding ? EncodingDetector.GetAdvice(encoding) : message)}");

    private void ThrowIfTooLong(int length, long number)
    {
        if (length > MaxBytes)
        {
            throw CreateError(number, $"the line is longer than the limit of {MaxBytes} bytes. Does the input have line ends?");
        }
    }

    /// <summary>Removes a carriage return from the end of a line, and the byte order mark from the first line.</summary>
    private InputLine CreateLine(ReadOnlyMemory<byte> line, long number)
    {
        ThrowIfTooLong(line.Length, number);
        if (number == 1)
        {
            if (EncodingDetector.FromByteOrderMark(line.Span) is { } encoding)
            {
                throw CreateError(number, EncodingDetector.GetAdvice(encoding));
            }

            if (line.Span.StartsWith(Encoding.UTF8.Preamble))
            {
                line = line[Encoding.UTF8.Preamble.Length..];
            }
        }

        return new InputLine(line.Span.EndsWith("\r"u8) ? line[..^1] : line, number);
    }
}
