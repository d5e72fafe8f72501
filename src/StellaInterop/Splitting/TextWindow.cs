namespace StellaInterop.Splitting;

/// <summary>Reads a text forward through a window of bounded size.</summary>
internal sealed class TextWindow(TextReader reader, int capacity, StellaInvalidTextBehavior onInvalidText)
{
    private const int SmallestBuffer = 1024;

    /// <summary>Grows up to <c>capacity</c> as needed, so that a short text takes little memory.</summary>
    private char[] buffer = [];
    private int start;
    private int end;

    /// <summary>The index in the buffer up to which the characters are known to be valid Unicode.</summary>
    private int valid;

    /// <summary>Gets the position of the first character in the whole text.</summary>
    public long Position { get; private set; }

    /// <summary>Gets whether the text ends with the window.</summary>
    public bool Ended { get; private set; }

    /// <summary>Gets the characters of the window. Valid until the next call.</summary>
    public ReadOnlySpan<char> Text => buffer.AsSpan(start..end);

    /// <summary>Reads until the window has a number of characters, at most its capacity, or the text ends.</summary>
    /// <exception cref="StellaInputException">The text has a surrogate without a partner.</exception>
    public void Fill(int length)
    {
        length = Math.Min(length, capacity);
        if (Ended || end - start >= length)
        {
            return;
        }

        if (start + length > buffer.Length)
        {
            char[] next = length > buffer.Length ? new char[Math.Min(Math.Max(Math.Max(length, SmallestBuffer), buffer.Length * 2), capacity)] : buffer;
            buffer.AsSpan(start..end).CopyTo(next);
            (valid, end, start) = (Math.Max(valid - start, 0), end - start, 0);
            buffer = next;
        }

        // Fills the whole buffer, because many small reads are slow.
        int read = reader.ReadBlock(buffer, end, buffer.Length - end);
        Ended = read < buffer.Length - end;
        end += read;
        if (onInvalidText == StellaInvalidTextBehavior.Error)
        {
            CheckSurrogates();
        }
    }

    /// <summary>Moves past a number of characters.</summary>
    public void Advance(int count)
    {
        start += count;
        Position += count;
    }

    /// <summary>Moves to the next character that is not white space.</summary>
    /// <returns>Whether there is one.</returns>
    public bool SkipWhiteSpace()
    {
        while (true)
        {
            Fill(1);
            ReadOnlySpan<char> text = Text;
            if (text.IsEmpty)
            {
                return false;
            }

            int blanks = text.Length - text.TrimStart().Length;
            Advance(blanks);
            if (blanks < text.Length)
            {
                return true;
            }
        }
    }

    private void CheckSurrogates()
    {
        while (true)
        {
            int found = buffer.AsSpan(valid..end).IndexOfAnyInRange('\ud800', '\udfff');
            int at = valid + found;
            if (found < 0 || (at + 1 == end && !Ended && char.IsHighSurrogate(buffer[at])))
            {
                // The partner of the last character may not be read yet.
                valid = found < 0 ? end : at;
                return;
            }

            if (at + 1 == end || !char.IsSurrogatePair(buffer[at], buffer[at + 1]))
            {
                throw new StellaInputException(
                    StellaErrorCode.TextNotUnicode,
                    $"Text 0 is not valid Unicode: the surrogate U+{(int)buffer[at]:X4} at {Position + at - start} has no partner. "
                    + "Correct the text, or set InvalidTextBehavior to Replace.",
                    textIndex: 0);
            }

            valid = at + 2;
        }
    }
}
