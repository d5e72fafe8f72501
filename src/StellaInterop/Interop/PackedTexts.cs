using System.Buffers;
using System.Numerics;
using Utf8Text = System.Text.Unicode.Utf8;

using StellaInterop.Threading;

namespace StellaInterop.Interop;

/// <summary>
/// Texts as one run of UTF-8: text i is the bytes from <c>Offsets[i]</c> to <c>Offsets[i + 1]</c>. The memory serves one
/// pack after the other.
/// </summary>
/// <remarks>
/// The tokenizer looks at a limited number of bytes. A longer text is encoded part by part, and each part is shortened. That ends
/// some characters behind the last one that native code looks at, so that it still sees that the text is longer. The rest is only
/// measured, and searched for surrogates without a partner.
/// </remarks>
internal sealed class PackedTexts
{
    /// <summary>A pack is closed when it holds this much, so that a long list needs bounded memory.</summary>
    private const int SoftLimitBytes = 4 << 20;

    /// <summary>Texts in one pack at most.</summary>
    private const int MaxTexts = 256;

    /// <summary>Bytes of a part beyond the limit: room for the characters that show that the text is longer.</summary>
    private const int BeyondLimitBytes = 16;

    /// <summary>What is kept between calls: room for a full pack whose last text has a million characters.</summary>
    private const int MaxKeptBytes = 8 << 20;

    private byte[] utf8 = [];
    private nuint[] offsets = [];
    private int[] replaced = [];

    /// <summary>Bytes of each text that was cut; 0 for a text that is whole.</summary>
    private long[] cutLengths = [];
    private ITextCondenser? condenser;
    private uint[]? units;

    /// <summary>Packs texts until the pack is full; at least one. What was packed before is gone.</summary>
    /// <param name="texts">The texts that remain.</param>
    /// <param name="firstText">Index of the first of them in the caller's list.</param>
    /// <param name="onInvalidText">Whether a surrogate without a partner is an error or is replaced.</param>
    /// <param name="textCondenser">Knows how much of a text is looked at; <see langword="null"/> for all of it.</param>
    /// <exception cref="StellaInputException">A text is null, or has such a surrogate where that is an error.</exception>
    public void Fill(
        ReadOnlySpan<string> texts, int firstText, StellaInvalidTextBehavior onInvalidText, ITextCondenser? textCondenser = null)
    {
        int most = Math.Min(texts.Length, MaxTexts);
        if (replaced.Length < most)
        {
            offsets = new nuint[most + 1];
            replaced = new int[most];
            cutLengths = new long[most];
        }

        condenser = textCondenser;
        FirstText = firstText;
        Count = 0;
        Length = 0;
        while (Count < most && (Count == 0 || Length < SoftLimitBytes))
        {
            Append(texts[Count], firstText + Count, onInvalidText);
        }
    }

    /// <summary>Packs one text, and keeps where in it each byte comes from.</summary>
    /// <exception cref="StellaInputException">The text has a surrogate without a partner where that is an error.</exception>
    public void FillWithUnits(string text, int index, StellaInvalidTextBehavior onInvalidText, ITextCondenser textCondenser)
    {
        units = [0];
        Fill([text], index, onInvalidText, textCondenser);
    }

    /// <summary>
    /// For each byte of the one text the UTF-16 unit at which its character begins, and one more for the end of the last one.
    /// </summary>
    public ReadOnlySpan<uint> Units => units;

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
                $"Text {textIndex} has {length} bytes, its prompt not counted; the limit is {condenser!.MaxBytes}. "
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

    private void Append(string? text, int index, StellaInvalidTextBehavior onInvalidText)
    {
        if (text is null)
        {
            throw new StellaInputException(StellaErrorCode.TextNotUnicode, $"text {index} is null", index);
        }

        // Three bytes a UTF-16 unit is the most that UTF-8 takes.
        long room = Math.Min(3L * text.Length, condenser?.MaxBytes ?? long.MaxValue);
        Reserve(Length + room, index);
        Span<byte> rest = utf8.AsSpan(Length, (int)room);
        OperationStatus status = Utf8Text.FromUtf16(text, rest, out _, out int written, replaceInvalidSequences: false);
        replaced[Count] = 0;
        cutLengths[Count] = 0;
        if (status != OperationStatus.Done)
        {
            // The rest of a text has to be valid too if only its beginning is encoded.
            Survey survey = Survey.Of(text);
            if (survey.LoneSurrogates > 0)
            {
                if (onInvalidText != StellaInvalidTextBehavior.Replace)
                {
                    int at = survey.FirstLoneSurrogate;
                    throw new StellaInputException(
                        StellaErrorCode.TextNotUnicode,
                        $"text {index} is not valid Unicode: the surrogate U+{(int)text[at]:X4} at index {at} has no partner",
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

        KeepUnits(0, utf8.AsSpan(Length, written), 0);
        Finish(written);
    }

    private void Finish(int written)
    {
        Length += written;
        Count++;
        offsets[Count] = (nuint)Length;
    }

    /// <summary>Encodes a long text part by part, each shortened together with what is left of those before it.</summary>
    /// <returns>The bytes that are left.</returns>
    private int EncodeBeginning(ReadOnlySpan<char> text, int index, ITextCondenser textCondenser, out bool isCut)
    {
        int kept = 0;
        int read = 0;
        isCut = false;
        while (!isCut && read < text.Length)
        {
            // At least as much as is left, so that the time does not grow faster than the text.
            long room = Math.Max(textCondenser.MaxBytes, kept) + BeyondLimitBytes;
            Reserve((long)Length + kept + room, index, kept);
            Utf8Text.FromUtf16(text[read..], utf8.AsSpan(Length + kept, (int)room), out int more, out int written);
            KeepUnits(kept, utf8.AsSpan(Length + kept, written), read);
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

    /// <summary>Keeps the units of bytes that were encoded behind others of the same text.</summary>
    private void KeepUnits(int before, ReadOnlySpan<byte> bytes, int unit)
    {
        if (units is null)
        {
            return;
        }

        Array.Resize(ref units, before + bytes.Length + 1);
        int next = unit;
        for (int i = 0; i < bytes.Length; i++)
        {
            // A byte of the form 10xxxxxx goes on with a character; one of 11110xxx begins one of two units.
            if ((bytes[i] & 0xC0) != 0x80)
            {
                unit = next;
                next += bytes[i] >= 0xF0 ? 2 : 1;
            }

            units[before + i] = (uint)unit;
        }

        units[^1] = (uint)next;
    }

    /// <summary>Makes room for bytes of the text behind those of the texts before it.</summary>
    private void Reserve(long needed, int index, int begun = 0)
    {
        if (needed > utf8.Length)
        {
            Grow(needed, index, begun);
        }
    }

    private void Grow(long needed, int index, int begun)
    {
        if (needed > Array.MaxLength)
        {
            throw new StellaInputException(
                StellaErrorCode.TextTooLong, $"text {index} has more characters than can be encoded at once", index);
        }

        // Doubled at least, so that many short texts are not copied for each of them.
        byte[] larger = GC.AllocateUninitializedArray<byte>(
            (int)Math.Min(BitOperations.RoundUpToPowerOf2((ulong)needed), (ulong)Array.MaxLength));
        utf8.AsSpan(0, Length + begun).CopyTo(larger);
        utf8 = larger;
    }

    /// <summary>The length of a whole text, and its lone surrogates.</summary>
    /// <param name="Bytes">Length in UTF-8 with each lone surrogate replaced; it may be more than an <see cref="int"/> holds.</param>
    /// <param name="LoneSurrogates">Surrogates without a partner.</param>
    /// <param name="FirstLoneSurrogate">Index of the first of them, or 0.</param>
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
