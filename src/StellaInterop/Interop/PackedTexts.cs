using System.Buffers;

namespace StellaInterop.Interop;

/// <summary>
/// Texts as one run of UTF-8 in rented memory: text i is the bytes from <c>Offsets[i]</c> to <c>Offsets[i + 1]</c>.
/// </summary>
internal ref struct PackedTexts : IDisposable
{
    /// <summary>A pack is closed when it holds this much, so that a long list needs bounded memory.</summary>
    private const int SoftLimitBytes = 4 << 20;

    /// <summary>Texts in one pack at most.</summary>
    private const int MaxTexts = 256;

    private byte[] utf8;
    private readonly nuint[] offsets;
    private readonly int[] replaced;

    /// <summary>Packs texts until the pack is full; at least one.</summary>
    /// <param name="texts">The texts that remain.</param>
    /// <param name="firstText">Index of the first of them in the caller's list.</param>
    /// <param name="onInvalidText">What to do with a surrogate without a partner.</param>
    /// <exception cref="StellaInputException">A text is null, or has such a surrogate where that is an error.</exception>
    public PackedTexts(ReadOnlySpan<string> texts, int firstText, StellaInvalidText onInvalidText)
    {
        FirstText = firstText;
        utf8 = ArrayPool<byte>.Shared.Rent(64 << 10);
        offsets = ArrayPool<nuint>.Shared.Rent(MaxTexts + 1);
        replaced = ArrayPool<int>.Shared.Rent(MaxTexts);
        offsets[0] = 0;
        try
        {
            while (Count < Math.Min(texts.Length, MaxTexts) && (Count == 0 || Length < SoftLimitBytes))
            {
                Append(texts[Count], firstText + Count, onInvalidText);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Index of the first text in the caller's list.</summary>
    public int FirstText { get; }

    /// <summary>Number of texts.</summary>
    public int Count { get; private set; }

    /// <summary>Number of bytes of all texts.</summary>
    public int Length { get; private set; }

    public readonly ReadOnlySpan<byte> Utf8 => utf8.AsSpan(0, Length);

    public readonly ReadOnlySpan<nuint> Offsets => offsets.AsSpan(0, Count + 1);

    /// <summary>Surrogates of each text that were replaced.</summary>
    public readonly ReadOnlySpan<int> Replaced => replaced.AsSpan(0, Count);

    public readonly void Dispose()
    {
        ArrayPool<int>.Shared.Return(replaced);
        ArrayPool<byte>.Shared.Return(utf8);
        ArrayPool<nuint>.Shared.Return(offsets);
    }

    private void Append(string? text, int index, StellaInvalidText onInvalidText)
    {
        if (text is null)
        {
            throw new StellaInputException(StellaErrorCode.TextNotUnicode, $"text {index} is null", index);
        }

        // Three bytes a UTF-16 unit is the most that UTF-8 takes.
        long needed = Length + (3L * text.Length);
        if (needed > utf8.Length)
        {
            Grow(needed, index);
        }

        Span<byte> rest = utf8.AsSpan(Length);
        var status = System.Text.Unicode.Utf8.FromUtf16(text, rest, out int read, out int written, replaceInvalidSequences: false);
        replaced[Count] = 0;
        if (status != OperationStatus.Done && onInvalidText == StellaInvalidText.Replace)
        {
            replaced[Count] = CountLoneSurrogates(text);
            status = System.Text.Unicode.Utf8.FromUtf16(text, rest, out _, out written, replaceInvalidSequences: true);
        }

        if (status != OperationStatus.Done)
        {
            throw new StellaInputException(
                StellaErrorCode.TextNotUnicode,
                $"text {index} is not valid Unicode: the surrogate U+{(int)text[read]:X4} at {read} has no partner",
                index);
        }

        Length += written;
        Count++;
        offsets[Count] = (nuint)Length;
    }

    private static int CountLoneSurrogates(ReadOnlySpan<char> text)
    {
        int count = 0;
        while (!text.IsEmpty)
        {
            if (System.Text.Rune.DecodeFromUtf16(text, out _, out int length) != OperationStatus.Done)
            {
                count++;
            }

            text = text[length..];
        }

        return count;
    }

    private void Grow(long needed, int index)
    {
        if (needed > Array.MaxLength)
        {
            throw new StellaInputException(
                StellaErrorCode.TextTooLong, $"text {index} has more characters than can be encoded at once", index);
        }

        byte[] larger = ArrayPool<byte>.Shared.Rent((int)needed);
        Utf8.CopyTo(larger);
        ArrayPool<byte>.Shared.Return(utf8);
        utf8 = larger;
    }
}
