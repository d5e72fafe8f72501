using System.Buffers;
using System.Numerics;

namespace StellaInterop.Interop;

/// <summary>
/// Texts as one run of UTF-8: text i is the bytes from <c>Offsets[i]</c> to <c>Offsets[i + 1]</c>. The memory serves one
/// pack after the other.
/// </summary>
internal sealed class PackedTexts
{
    /// <summary>A pack is closed when it holds this much, so that a long list needs bounded memory.</summary>
    private const int SoftLimitBytes = 4 << 20;

    /// <summary>Texts in one pack at most.</summary>
    private const int MaxTexts = 256;

    /// <summary>What is kept between calls: room for a full pack whose last text has a million characters.</summary>
    private const int MaxKeptBytes = 8 << 20;

    private byte[] utf8 = [];
    private nuint[] offsets = [];
    private int[] replaced = [];

    /// <summary>Packs texts until the pack is full; at least one. What was packed before is gone.</summary>
    /// <param name="texts">The texts that remain.</param>
    /// <param name="firstText">Index of the first of them in the caller's list.</param>
    /// <param name="onInvalidText">What to do with a surrogate without a partner.</param>
    /// <exception cref="StellaInputException">A text is null, or has such a surrogate where that is an error.</exception>
    public void Fill(ReadOnlySpan<string> texts, int firstText, StellaInvalidText onInvalidText)
    {
        int most = Math.Min(texts.Length, MaxTexts);
        if (replaced.Length < most)
        {
            offsets = new nuint[most + 1];
            replaced = new int[most];
        }

        FirstText = firstText;
        Count = 0;
        Length = 0;
        while (Count < most && (Count == 0 || Length < SoftLimitBytes))
        {
            Append(texts[Count], firstText + Count, onInvalidText);
        }
    }

    /// <summary>Index of the first text in the caller's list.</summary>
    public int FirstText { get; private set; }

    /// <summary>Number of texts.</summary>
    public int Count { get; private set; }

    /// <summary>Number of bytes of all texts.</summary>
    public int Length { get; private set; }

    public ReadOnlySpan<byte> Utf8 => utf8.AsSpan(0, Length);

    public ReadOnlySpan<nuint> Offsets => offsets.AsSpan(0, Count + 1);

    /// <summary>Surrogates of each text that were replaced.</summary>
    public ReadOnlySpan<int> Replaced => replaced.AsSpan(0, Count);

    /// <summary>Lets go of memory that only a text of unusual length needed.</summary>
    public void Trim()
    {
        if (utf8.Length > MaxKeptBytes)
        {
            utf8 = [];
        }
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

        // Doubled at least, so that many short texts are not copied for each of them.
        byte[] larger = GC.AllocateUninitializedArray<byte>(
            (int)Math.Min(BitOperations.RoundUpToPowerOf2((ulong)needed), (ulong)Array.MaxLength));
        Utf8.CopyTo(larger);
        utf8 = larger;
    }
}
