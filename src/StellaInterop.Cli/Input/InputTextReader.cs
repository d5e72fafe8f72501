using System.Text;
using System.Text.Json;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Streams;

namespace StellaInterop.Cli.Input;

/// <summary>
/// Reads texts from a file line by line. The memory is bounded by the longest line, even if the input never ends.
/// </summary>
internal static class InputTextReader
{
    // Encoding.UTF8 would silently replace invalid bytes by U+FFFD.
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>
    /// Returns the texts of a file, or of standard input for <c>-</c>, and <see langword="null"/> each time the next text has not
    /// arrived yet.
    /// </summary>
    /// <exception cref="CliException">The file cannot be read, or a line is not a valid text.</exception>
    public static IEnumerable<InputText?> Read(
        string source, InputFormat format, StellaPrompt defaultPrompt, CancellationToken cancellationToken)
    {
        using var input = new ReadAhead(WrapErrors(source, () => source == "-" ? StandardStreams.OpenInput() : File.OpenRead(source)));
        var lines = new LineReader(input);
        using IEnumerator<InputLine?> line = lines.Read(cancellationToken).GetEnumerator();
        int index = 0;
        while (WrapErrors(source, line.MoveNext))
        {
            if (line.Current is not { } current)
            {
                yield return null;
            }
            else if (format == InputFormat.Lines)
            {
                yield return new InputText(Decode(lines, current, index++), defaultPrompt, current.Number);
            }
            else if (!current.Bytes.Span.Trim(" \t\r"u8).IsEmpty)
            {
                yield return ParseJson(lines, current, index++, defaultPrompt);
            }
        }
    }

    private static T WrapErrors<T>(string source, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"--input {source} cannot be read.", e);
        }
    }

    /// <summary>Refuses a zero byte. The tokenizer would drop it, so that UTF-16 input would be accepted as text.</summary>
    private static void ThrowIfZeroByte(LineReader lines, InputLine line, int index)
    {
        int zero = line.Bytes.Span.IndexOf((byte)0);
        if (zero >= 0)
        {
            throw lines.CreateError(
                line.Number,
                $"Text {index} has a zero byte at byte {zero} of its line, which text must not have. Is the input UTF-8? Write a zero character as \\u0000 in JSON Lines.");
        }
    }

    private static string Decode(LineReader lines, InputLine line, int index)
    {
        ThrowIfZeroByte(lines, line, index);
        try
        {
            return StrictUtf8.GetString(line.Bytes.Span);
        }
        catch (DecoderFallbackException e)
        {
            throw lines.CreateError(line.Number, $"Text {index} is not valid UTF-8 at byte {e.Index} of its line.");
        }
    }

    private static InputText ParseJson(LineReader lines, InputLine line, int index, StellaPrompt defaultPrompt)
    {
        ThrowIfZeroByte(lines, line, index);
        try
        {
            using var document = JsonDocument.Parse(line.Bytes);
            JsonElement row = document.RootElement;
            if (row.ValueKind != JsonValueKind.Object
                || !row.TryGetProperty("text", out JsonElement text)
                || text.ValueKind != JsonValueKind.String)
            {
                throw lines.CreateError(line.Number, $"Text {index} is missing: the line is not a JSON object with a string \"text\".");
            }

            StellaPrompt prompt = defaultPrompt;
            if (row.TryGetProperty("prompt", out JsonElement named) && named.ValueKind != JsonValueKind.Null)
            {
                prompt = StellaPrompt.FromName(named.GetString()!);
            }

            return new InputText(text.GetString()!, prompt, line.Number);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            // The line is not JSON, a string has half a surrogate pair, "prompt" is not a string, or the prompt is empty.
            throw new CliException(ExitCode.BadInput, $"Line {line.Number}: Text {index} cannot be parsed.", e);
        }
    }
}
