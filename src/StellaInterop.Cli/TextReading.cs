using System.Text;
using System.Text.Json;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli;

/// <summary>A text to embed, with what is put before it.</summary>
/// <param name="Text">The text.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Line">The line of the input that it comes from, 0 for one of the command line.</param>
internal readonly record struct InputText(string Text, StellaPrompt Prompt, long Line);

/// <summary>Texts from files, line by line, so that an endless input needs no more memory than its longest line.</summary>
internal static class TextReading
{
    // Throws on bytes that are not UTF-8; the usual one would put U+FFFD in their place and say nothing.
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>
    /// The texts of a file, or of standard input for <c>-</c>, and <see langword="null"/> whenever the next has not arrived yet.
    /// </summary>
    /// <exception cref="CliException">The file cannot be read, or a line is no text.</exception>
    public static IEnumerable<InputText?> FromFile(
        string source, InputFormat format, StellaPrompt fallback, CancellationToken cancellationToken)
    {
        using var input = new ReadAhead(Guard(source, () => source == "-" ? StandardStreams.OpenInput() : File.OpenRead(source)));
        var lines = new InputLines(input);
        using IEnumerator<InputLine?> line = lines.Read(cancellationToken).GetEnumerator();
        int index = 0;
        while (Guard(source, line.MoveNext))
        {
            if (line.Current is not { } current)
            {
                yield return null;
            }
            else if (format == InputFormat.Lines)
            {
                yield return new InputText(Decode(lines, current, index++), fallback, current.Number);
            }
            else if (!current.Bytes.Span.Trim(" \t\r"u8).IsEmpty)
            {
                yield return ParseJson(lines, current, index++, fallback);
            }
        }
    }

    private static T Guard<T>(string source, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"--input {source} cannot be read", e);
        }
    }

    /// <summary>Refuses a zero byte, which text does not have. The tokenizer would drop it, and UTF-16 would pass for text.</summary>
    private static void ThrowIfNotText(InputLines lines, InputLine line, int index)
    {
        int zero = line.Bytes.Span.IndexOf((byte)0);
        if (zero >= 0)
        {
            throw lines.Fault(
                line.Number,
                $"text {index} has a zero byte at byte {zero} of its line, as text does not. Is the input UTF-8? JSON Lines can write one as \\u0000.");
        }
    }

    private static string Decode(InputLines lines, InputLine line, int index)
    {
        ThrowIfNotText(lines, line, index);
        try
        {
            return StrictUtf8.GetString(line.Bytes.Span);
        }
        catch (DecoderFallbackException e)
        {
            throw lines.Fault(line.Number, $"text {index} is not valid UTF-8 at byte {e.Index} of its line.");
        }
    }

    private static InputText ParseJson(InputLines lines, InputLine line, int index, StellaPrompt fallback)
    {
        ThrowIfNotText(lines, line, index);
        try
        {
            using var document = JsonDocument.Parse(line.Bytes);
            JsonElement row = document.RootElement;
            if (row.ValueKind != JsonValueKind.Object
                || !row.TryGetProperty("text", out JsonElement text)
                || text.ValueKind != JsonValueKind.String)
            {
                throw lines.Fault(line.Number, $"text {index} is missing: the line is no JSON object with a string \"text\".");
            }

            StellaPrompt prompt = fallback;
            if (row.TryGetProperty("prompt", out JsonElement named) && named.ValueKind != JsonValueKind.Null)
            {
                prompt = StellaPrompt.FromName(named.GetString()!);
            }

            return new InputText(text.GetString()!, prompt, line.Number);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            // Not JSON; a string with half a surrogate pair, or one that is no string; an empty prompt.
            throw new CliException(ExitCode.BadInput, $"Line {line.Number}: text {index} cannot be read from its line", e);
        }
    }
}
