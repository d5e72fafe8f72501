using System.Buffers;
using System.Numerics;
using System.Text;

namespace StellaInterop.Interop;

/// <summary>
/// Texts as one run of UTF-8: text i is the bytes from <c>Offsets[i]</c> to <c>Offsets[i + 1]</c>. The memory serves one
/// pack after the other.
/// </summary>
/// <remarks>
/// The tokenizer looks at a limited number of bytes. A longer text is encoded up to one character beyond that limit, so that
/// native code still sees that it is longer. The rest is only searched for surrogates without a partner.
/// </remarks>
internal sealed class PackedTexts
{
    /// <summary>A pack is closed when it holds this much, so that a long list needs bounded memory.</summary>
    private const int SoftLimitBytes = 4 << 20;

    /// <summary>Texts in one pack at most.</summary>
    private const int MaxTexts = 256;

    /// <summary>Bytes of the longest character: with that much room beyond the limit, a cut text exceeds the limit.</summary>
    private const int BeyondLimitBytes = 4;

    /// <summary>What is kept between calls: room for a full pack whose last text has a million characters.</summary>
    private const int MaxKeptBytes = 8 << 20;

    private byte[] utf8 = [];
    private nuint[] offsets = [];
    private int[] replaced = [];

    /// <summary>Bytes of each text that was cut; 0 for a text that is whole.</summary>
    private long[] cutLengths = [];
    private long maxTextBytes;

    /// <summary>Packs texts until the pack is full; at least one. What was packed before is gone.</summary>
    /// <param name="texts">The texts that remain.</param>
    /// <param name="firstText">Index of the first of them in the caller's list.</param>
    /// <param name="onInvalidText">Whether a surrogate without a partner is an error or is replaced.</param>
    /// <param name="maxBytes">Bytes of prompt and text that the tokenizer looks at.</param>
    /// <exception cref="StellaInputException">A text is null, or has such a surrogate where that is an error.</exception>
    public void Fill(
        ReadOnlySpan<string> texts, int firstText, StellaInvalidText onInvalidText, long maxBytes = long.MaxValue)
    {
        int most = Math.Min(texts.Length, MaxTexts);
        if (replaced.Length < most)
        {
            offsets = new nuint[most + 1];
            replaced = new int[most];
            cutLengths = new long[most];
        }

        maxTextBytes = maxBytes;

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

    /// <summary>
    /// Returns the error of a text that native code found too long but saw only in part, with its whole length;
    /// <see langword="null"/> for a text that native code saw whole.
    /// </summary>
    /// <param name="textIndex">Index of the text in the caller's list.</param>
    public StellaInputException? TooLongError(int textIndex)
    {
        int text = textIndex - FirstText;
        return text >= 0 && text < Count && cutLengths[text] is > 0 and var length
            ? new StellaInputException(
                StellaErrorCode.TextTooLong,
                $"Text {textIndex} has {length} bytes, its prompt not counted; the limit is {maxTextBytes}. "
                + "Shorten it, raise MaxTokens, or allow truncation.",
                textIndex)
            : null;
    }

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
        long room = 3L * text.Length;
        if (maxTextBytes < room - BeyondLimitBytes)
        {
            room = maxTextBytes + BeyondLimitBytes;
        }

        if (Length + room > utf8.Length)
        {
            Grow(Length + room, index);
        }

        Span<byte> rest = utf8.AsSpan(Length, (int)room);
        OperationStatus status = System.Text.Unicode.Utf8.FromUtf16(text, rest, out int read, out int written, replaceInvalidSequences: false);
        if (status == OperationStatus.DestinationTooSmall)
        {
            // The rest of the text is not encoded, but it has to be valid as well.
            read += IndexOfLoneSurrogate(text.AsSpan(read));
            status = read < text.Length ? OperationStatus.InvalidData : status;
        }

        replaced[Count] = 0;
        if (status == OperationStatus.InvalidData)
        {
            if (onInvalidText != StellaInvalidText.Replace)
            {
                throw new StellaInputException(
                    StellaErrorCode.TextNotUnicode,
                    $"text {index} is not valid Unicode: the surrogate U+{(int)text[read]:X4} at {read} has no partner",
                    index);
            }

            replaced[Count] = CountLoneSurrogates(text.AsSpan(read));
            status = System.Text.Unicode.Utf8.FromUtf16(text, rest, out _, out written, replaceInvalidSequences: true);
        }

        cutLengths[Count] = status == OperationStatus.DestinationTooSmall ? LengthOf(text) : 0;
        Length += written;
        Count++;
        offsets[Count] = (nuint)Length;
    }

    /// <summary>Returns the length of a text in UTF-8, which may be more than an <see cref="int"/> holds.</summary>
    private static long LengthOf(ReadOnlySpan<char> text)
    {
        const int Step = 1 << 26;
        long length = 0;
        while (!text.IsEmpty)
        {
            int end = Math.Min(Step, text.Length);
            if (end < text.Length && char.IsHighSurrogate(text[end - 1]))
            {
                // Both halves of a pair in one step.
                end--;
            }

            length += Encoding.UTF8.GetByteCount(text[..end]);
            text = text[end..];
        }

        return length;
    }

    private static int CountLoneSurrogates(ReadOnlySpan<char> text)
    {
        int count = 0;
        while (IndexOfLoneSurrogate(text) is var at && at < text.Length)
        {
            count++;
            text = text[(at + 1)..];
        }

        return count;
    }

    /// <summary>Returns the place of the first surrogate without a partner, or the length of the text.</summary>
    private static int IndexOfLoneSurrogate(ReadOnlySpan<char> text)
    {
        int at = 0;
        while (text[at..].IndexOfAnyInRange('\uD800', '\uDFFF') is var next and >= 0)
        {
            at += next;
            if (at + 1 >= text.Length || !char.IsSurrogatePair(text[at], text[at + 1]))
            {
                return at;
            }

            at += 2;
        }

        return text.Length;
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
