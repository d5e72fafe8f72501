using System.Buffers;
using System.Numerics;
using Utf8Text = System.Text.Unicode.Utf8;

namespace StellaInterop.Interop;

/// <summary>
/// Encodes texts as one buffer of UTF-8: text i is the bytes from <c>Offsets[i]</c> to <c>Offsets[i + 1]</c>. The buffer is reused for
/// the next pack.
/// </summary>
/// <remarks>
/// The tokenizer reads a limited number of bytes. A longer text is encoded in parts, and each part is condensed. The encoding stops some
/// characters after the last character that native code reads, so that native code still sees that the text is longer. The rest of the
/// text is only measured and searched for surrogates without a partner.
/// </remarks>
internal sealed class PackedTexts
{
    /// <summary>The size at which a pack takes no more texts, so that a long list needs bounded memory.</summary>
    private const int SoftLimitBytes = 4 << 20;

    /// <summary>The largest number of texts in a pack.</summary>
    private const int MaxTexts = 256;

    /// <summary>The bytes of a part beyond the limit: room for the characters that show that the text is longer.</summary>
    private const int BeyondLimitBytes = 16;

    /// <summary>The largest buffer that is kept between calls: a full pack whose last text has a million characters.</summary>
    private const int MaxRetainedBytes = 8 << 20;

    private byte[] utf8 = [];
    private nuint[] offsets = [];
    private int[] replaced = [];

    /// <summary>The length in bytes of each text that was cut; 0 for a text that is whole.</summary>
    private long[] cutLengths = [];
    private ITextCondenser? condenser;
    private uint[]? units;

    /// <summary>Packs texts until the pack is full, but at least one text. Replaces the previous pack.</summary>
    /// <param name="texts">The remaining texts.</param>
    /// <param name="firstText">The index of the first remaining text in the list of the caller.</param>
    /// <param name="onInvalidText">The behavior for a surrogate without a partner.</param>
    /// <param name="textCondenser">
    /// The part of the tokenizer that shortens long texts; <see langword="null"/> to encode every text as a whole.
    /// </param>
    /// <exception cref="StellaInputException">
    /// A text is null, or has a surrogate without a partner with <see cref="StellaInvalidTextBehavior.Error"/>.
    /// </exception>
    public void Fill(
        ReadOnlySpan<string> texts, int firstText, StellaInvalidTextBehavior onInvalidText, ITextCondenser? textCondenser = null)
    {
        int maxCount = Math.Min(texts.Length, MaxTexts);
        if (replaced.Length < maxCount)
        {
            offsets = new nuint[maxCount + 1];
            replaced = new int[maxCount];
            cutLengths = new long[maxCount];
        }

        condenser = textCondenser;
        FirstText = firstText;
        Count = 0;
        Length = 0;
        while (Count < maxCount && (Count == 0 || Length < SoftLimitBytes))
        {
            Append(texts[Count], firstText + Count, onInvalidText);
        }
    }

    /// <summary>Packs one text, and records the position in the text that each byte comes from.</summary>
    /// <exception cref="StellaInputException">
    /// The text has a surrogate without a partner with <see cref="StellaInvalidTextBehavior.Error"/>.
    /// </exception>
    public void FillWithUnits(string text, int index, StellaInvalidTextBehavior onInvalidText, ITextCondenser textCondenser)
    {
        units = [0];
        Fill([text], index, onInvalidText, textCondenser);
    }

    /// <summary>
    /// Gets, for each byte of a text that <see cref="FillWithUnits"/> packed, the UTF-16 index at which its character begins. The last
    /// entry is the end of the text.
    /// </summary>
    public ReadOnlySpan<uint> Units => units;

    /// <summary>Gets the index of the first text in the list of the caller.</summary>
    public int FirstText { get; private set; }

    /// <summary>Gets the number of texts.</summary>
    public int Count { get; private set; }

    /// <summary>Gets the number of bytes of all texts.</summary>
    public int Length { get; private set; }

    public ReadOnlySpan<byte> Utf8 => utf8.AsSpan(0, Length);

    public ReadOnlySpan<nuint> Offsets => offsets.AsSpan(0, Count + 1);

    /// <summary>Gets the number of replaced surrogates of each text.</summary>
    public ReadOnlySpan<int> Replaced => replaced.AsSpan(0, Count);

    /// <summary>
    /// Returns the error of a text that is too long and of which native code read only a part, with the whole length;
    /// <see langword="null"/> for a text that native code read as a whole.
    /// </summary>
    /// <param name="textIndex">The index of the text in the list of the caller.</param>
    public StellaInputException? TooLongError(int textIndex)
    {
        int text = textIndex - FirstText;
        return text >= 0 && text < Count && cutLengths[text] is > 0 and var length
            ? new StellaInputException(
                StellaErrorCode.TextTooLong,
                $"Text {textIndex} has {length} bytes, its prompt not counted; the limit is {condenser!.MaxBytes}. "
                + "Shorten it, raise MaxTokens, or allow truncation.",
                textIndex)
            : null;
    }

    /// <summary>Frees the memory that only a text of unusual length needed.</summary>
    public void Trim()
    {
        if (utf8.Length > MaxRetainedBytes)
        {
            utf8 = [];
        }
    }

    private void Append(string? text, int index, StellaInvalidTextBehavior onInvalidText)
    {
        if (text is null)
        {
            throw new StellaInputException(StellaErrorCode.TextNotUnicode, $"Text {index} is null. Pass an empty string for a text without characters.", index);
        }

        // UTF-8 takes at most three bytes per UTF-16 unit.
        long room = Math.Min(3L * text.Length, condenser?.MaxBytes ?? long.MaxValue);
        Reserve(Length + room, index);
        Span<byte> rest = utf8.AsSpan(Length, (int)room);
        OperationStatus status = Utf8Text.FromUtf16(text, rest, out _, out int written, replaceInvalidSequences: false);
        replaced[Count] = 0;
        cutLengths[Count] = 0;
        if (status != OperationStatus.Done)
        {
            // The whole text must be valid, even if only its beginning is encoded.
            Survey survey = Survey.Of(text);
            if (survey.LoneSurrogates > 0)
            {
                if (onInvalidText != StellaInvalidTextBehavior.Replace)
                {
                    int at = survey.FirstLoneSurrogate;
                    throw new StellaInputException(
                        StellaErrorCode.TextNotUnicode,
                        $"Text {index} is not valid Unicode: the surrogate U+{(int)text[at]:X4} at index {at} has no partner. "
                        + "Correct the text, or set InvalidTextBehavior to Replace.",
                        index);
                }

                replaced[Count] = survey.LoneSurrogates;
                status = Utf8Text.FromUtf16(text, rest, out _, out written, replaceInvalidSequences: true);
            }

            if (status == OperationStatus.DestinationTooSmall)
            {
                written = EncodeBeginning(text, index, condenser!, out bool isCut);
                cutLengths[Count] = isCut ? survey.Bytes : 0;
                Finish(written);
                return;
            }
        }

        RecordUnits(0, utf8.AsSpan(Length, written), 0);
        Finish(written);
    }

    private void Finish(int written)
    {
        Length += written;
        Count++;
        offsets[Count] = (nuint)Length;
    }

    /// <summary>Encodes a long text in parts. Each part is condensed together with the result of the parts before it.</summary>
    /// <returns>The number of bytes after condensing.</returns>
    private int EncodeBeginning(ReadOnlySpan<char> text, int index, ITextCondenser textCondenser, out bool isCut)
    {
        int kept = 0;
        int read = 0;
        isCut = false;
        while (!isCut && read < text.Length)
        {
            // A part is at least as long as the result so far, so that the time grows linearly with the text.
            long room = Math.Max(textCondenser.MaxBytes, kept) + BeyondLimitBytes;
            Reserve((long)Length + kept + room, index, kept);
            Utf8Text.FromUtf16(text[read..], utf8.AsSpan(Length + kept, (int)room), out int more, out int written);
            RecordUnits(kept, utf8.AsSpan(Length + kept, written), read);
            read += more;
            Span<uint> unitsOfText = units is null ? default : units.AsSpan(0, kept + written + 1);
            kept = textCondenser.Condense(utf8.AsSpan(Length, kept + written), unitsOfText, out isCut);
        }

        if (units is not null)
        {
            Array.Resize(ref units, kept + 1);
        }

        return kept;
    }

    /// <summary>Records the UTF-16 indices of newly encoded bytes.</summary>
    /// <param name="before">The number of bytes of the text before them.</param>
    /// <param name="bytes">The new bytes.</param>
    /// <param name="unit">The UTF-16 index at which they begin.</param>
    private void RecordUnits(int before, ReadOnlySpan<byte> bytes, int unit)
    {
        if (units is null)
        {
            return;
        }

        Array.Resize(ref units, before + bytes.Length + 1);
        int next = unit;
        for (int i = 0; i < bytes.Length; i++)
        {
            // A byte 10xxxxxx continues a character. A byte 11110xxx begins a character of two UTF-16 units.
            if ((bytes[i] & 0xC0) != 0x80)
            {
                unit = next;
                next += bytes[i] >= 0xF0 ? 2 : 1;
            }

            units[before + i] = (uint)unit;
        }

        units[^1] = (uint)next;
    }

    /// <summary>Ensures the capacity of the buffer.</summary>
    /// <param name="needed">The bytes of the finished texts and of the current text.</param>
    /// <param name="index">The index of the current text, for the error.</param>
    /// <param name="encodedBytes">The bytes of the current text that are encoded already.</param>
    private void Reserve(long needed, int index, int encodedBytes = 0)
    {
        if (needed > utf8.Length)
        {
            Grow(needed, index, encodedBytes);
        }
    }

    private void Grow(long needed, int index, int encodedBytes)
    {
        if (needed > Array.MaxLength)
        {
            throw new StellaInputException(
                StellaErrorCode.TextTooLong, $"Text {index} needs up to {needed} bytes of UTF-8; the limit is {Array.MaxLength}. Shorten the text.", index);
        }

        // At least doubled, so that the texts so far are not copied for every new text.
        byte[] larger = GC.AllocateUninitializedArray<byte>(
            (int)Math.Min(BitOperations.RoundUpToPowerOf2((ulong)needed), (ulong)Array.MaxLength));
        utf8.AsSpan(0, Length + encodedBytes).CopyTo(larger);
        utf8 = larger;
    }

    /// <summary>Represents the length of a whole text and its lone surrogates.</summary>
    /// <param name="Bytes">The length in UTF-8 with each lone surrogate replaced. It may exceed an <see cref="int"/>.</param>
    /// <param name="LoneSurrogates">The number of surrogates without a partner.</param>
    /// <param name="FirstLoneSurrogate">The index of the first lone surrogate; 0 without lone surrogates.</param>
    private readonly record struct Survey(long Bytes, int LoneSurrogates, int FirstLoneSurrogate)
    {
        private const int StepBytes = 4096;
        private const int ReplacementBytes = 3;

        public static Survey Of(ReadOnlySpan<char> text)
        {
            Span<byte> scratch = stackalloc byte[StepBytes];
            long bytes = 0;
            int lone = 0;
            int first = 0;
            int at = 0;
            while (at < text.Length)
            {
                OperationStatus status = Utf8Text.FromUtf16(
                    text[at..], scratch, out int read, out int written, replaceInvalidSequences: false);
                at += read;
                bytes += written;
                if (status == OperationStatus.InvalidData)
                {
                    first = lone == 0 ? at : first;
                    lone++;
                    at++;
                    bytes += ReplacementBytes;
                }
            }

            return new Survey(bytes, lone, first);
        }
    }
}
