namespace StellaInterop.Interop;

/// <summary>The tokens of one text and where in it they come from.</summary>
internal sealed class PlacedTokens
{
    private PlacedTokens(uint[] ids, StellaTokenPlace[] places, StellaTokenCount count)
    {
        Ids = ids;
        Places = places;
        Count = count;
    }

    public uint[] Ids { get; }

    /// <summary>For each id its characters; empty for special tokens and those of the prompt.</summary>
    public StellaTokenPlace[] Places { get; }

    public StellaTokenCount Count { get; }

    /// <summary>Tokenizes a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="maxTextBytes">Bytes of prompt and text that the tokenizer looks at.</param>
    /// <param name="text">The text.</param>
    /// <param name="options">The prompt and what to do with a long or invalid text.</param>
    /// <exception cref="StellaInputException">The text is not valid Unicode, or too long where that is an error.</exception>
    public static unsafe PlacedTokens Of(ModelHandle model, long maxTextBytes, string text, StellaEmbedOptions options)
    {
        var pack = new PackedTexts();
        pack.Fill([text], options.FirstTextIndex, options.OnInvalidText, maxTextBytes);
        var native = new NativeTokenizeOptions
        {
            size = (uint)sizeof(NativeTokenizeOptions),
            long_text = (uint)options.OnLongText,
            first_text = (uint)options.FirstTextIndex,
        };
        using var lease = new HandleLease(model);

        // No text has more tokens than this, so that one call is enough.
        uint[] ids = new uint[StellaModelOptions.MaxTokensLimit];
        var found = new NativePlace[ids.Length];
        NativeTokenCount count;
        nuint length;
        fixed (byte* utf8 = pack.Utf8, prompt = options.Prompt.Utf8)
        fixed (uint* idsPointer = ids)
        fixed (NativePlace* placesPointer = found)
        {
            native.prompt = prompt;
            native.prompt_length = (nuint)options.Prompt.Utf8.Length;
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_tokenize_places(
                (NativeModel*)lease.Value,
                utf8,
                (nuint)pack.Length,
                &native,
                idsPointer,
                placesPointer,
                (nuint)ids.Length,
                &count,
                &length), pack);
        }

        var places = ToCharacters(found.AsSpan(0, (int)length), pack.Utf8);
        return new PlacedTokens(ids[..(int)length], places, count.ToManaged(pack.Replaced[0]));
    }

    /// <summary>The tokens that share a character with a part of the text.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part leaves the text.</exception>
    /// <exception cref="StellaInputException">The part shares no character with a token, or has no characters.</exception>
    public NativeSpan SpanOf(Range part, int textLength, int index)
    {
        (int offset, int length) = part.GetOffsetAndLength(textLength);
        if (length == 0)
        {
            // Inside of a token it would share the token, and mean the characters around it.
            throw new StellaInputException(
                StellaErrorCode.InvalidArgument, $"part {index} has no characters: it begins and ends at character {offset}", index);
        }

        int end = offset + length;
        int first = Array.FindIndex(Places, place => place.Start < end && place.End > offset);
        int last = Array.FindLastIndex(Places, place => place.Start < end && place.End > offset);
        if (first < 0)
        {
            throw new StellaInputException(
                Count.IsTruncated ? StellaErrorCode.TextTooLong : StellaErrorCode.InvalidArgument,
                $"part {index}, characters {offset} to {end}, has no token: "
                + (Count.IsTruncated ? $"the text was cut at character {Places.Max(place => place.End)}" : "it is blank"),
                index);
        }

        return new NativeSpan { begin = (uint)first, end = (uint)last + 1 };
    }

    /// <summary>Bytes of UTF-8 as UTF-16 units.</summary>
    private static StellaTokenPlace[] ToCharacters(ReadOnlySpan<NativePlace> places, ReadOnlySpan<byte> utf8)
    {
        uint end = 0;
        foreach (NativePlace place in places)
        {
            end = Math.Max(end, place.end);
        }

        // How many units stand before each byte.
        int[] units = new int[end + 1];
        for (int at = 0; at < end; at++)
        {
            // A byte of the form 10xxxxxx goes on with a character; one of 11110xxx begins one of two units.
            int begun = (utf8[at] & 0xC0) == 0x80 ? 0 : utf8[at] >= 0xF0 ? 2 : 1;
            units[at + 1] = units[at] + begun;
        }

        var result = new StellaTokenPlace[places.Length];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = new StellaTokenPlace(UnitsBefore(places[i].begin), UnitsBefore(places[i].end));
        }

        return result;

        int UnitsBefore(uint at) => units[at];
    }
}
