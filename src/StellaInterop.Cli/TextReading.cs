using System.Text;
using System.Text.Json;

namespace StellaInterop.Cli;

/// <summary>A text to embed, with what is put before it.</summary>
internal readonly record struct InputText(string Text, StellaPrompt Prompt);

/// <summary>Texts from files, line by line, so that an endless input needs no more memory than its longest line.</summary>
internal static class TextReading
{
    // Throws on bytes that are not UTF-8; the usual one would put U+FFFD in their place and say nothing.
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The texts of a file, or of standard input for <c>-</c>.</summary>
    /// <exception cref="CliException">The file cannot be opened, or a line is no text.</exception>
    public static IEnumerable<InputText> FromFile(string source, InputFormat format, StellaPrompt fallback)
    {
        using Stream stream = Open(source);
        int index = 0;
        foreach (ReadOnlyMemory<byte> line in Lines(stream))
        {
            yield return format == InputFormat.Lines
                ? new InputText(Decode(line.Span, index), fallback)
                : ParseJson(line, index, fallback);
            index++;
        }
    }

    private static Stream Open(string source)
    {
        try
        {
            return source == "-" ? Console.OpenStandardInput() : File.OpenRead(source);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, $"--input {source} cannot be read", e);
        }
    }

    /// <summary>Lines without their ends. The memory of one is used again for the next.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Lines(Stream stream)
    {
        byte[] buffer = new byte[64 << 10];
        int start = 0, end = 0, searched = 0;
        bool first = true;
        while (true)
        {
            int newline = buffer.AsSpan(searched..end).IndexOf((byte)'\n');
            if (newline >= 0)
            {
                yield return Trim(buffer.AsMemory(start..(searched + newline)), ref first);
                start = searched = searched + newline + 1;
                continue;
            }

            // What remains is the beginning of a line: to the front with it, and a larger buffer if it fills this one.
            buffer.AsSpan(start..end).CopyTo(buffer);
            (start, end) = (0, end - start);
            searched = end;
            if (end == buffer.Length)
            {
                Array.Resize(ref buffer, checked(buffer.Length * 2));
            }

            int read = stream.Read(buffer, end, buffer.Length - end);
            if (read == 0)
            {
                if (end > 0)
                {
                    yield return Trim(buffer.AsMemory(0..end), ref first);
                }

                yield break;
            }

            end += read;
        }
    }

    /// <summary>Takes the carriage return of Windows from the end, and the byte order mark from the first line.</summary>
    private static ReadOnlyMemory<byte> Trim(ReadOnlyMemory<byte> line, ref bool first)
    {
        if (first && line.Span.StartsWith(Encoding.UTF8.Preamble))
        {
            line = line[Encoding.UTF8.Preamble.Length..];
        }

        first = false;
        return line.Span.EndsWith("\r"u8) ? line[..^1] : line;
    }

    private static string Decode(ReadOnlySpan<byte> utf8, int index)
    {
        try
        {
            return StrictUtf8.GetString(utf8);
        }
        catch (DecoderFallbackException e)
        {
            throw new CliException(ExitCode.BadInput, $"text {index} is not valid UTF-8 at byte {e.Index} of its line");
        }
    }

    private static InputText ParseJson(ReadOnlyMemory<byte> line, int index, StellaPrompt fallback)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            JsonElement row = document.RootElement;
            if (row.ValueKind != JsonValueKind.Object
                || !row.TryGetProperty("text", out JsonElement text)
                || text.ValueKind != JsonValueKind.String)
            {
                throw new CliException(ExitCode.BadInput, $"text {index}: the line is no JSON object with a string \"text\"");
            }

            StellaPrompt prompt = fallback;
            if (row.TryGetProperty("prompt", out JsonElement named) && named.ValueKind != JsonValueKind.Null)
            {
                prompt = StellaPrompt.Named(named.GetString()!);
            }

            return new InputText(text.GetString()!, prompt);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            // Not JSON; a string with half a surrogate pair, or one that is no string; an empty prompt.
            throw new CliException(ExitCode.BadInput, $"text {index}: the line cannot be used", e);
        }
    }
}
