namespace StellaInterop.Interop;

/// <summary>The tokens of one text and where in it they come from.</summary>
internal sealed class PlacedTokens
{
    private PlacedTokens(uint[] ids, StellaTokenOffset[] offsets, StellaTokenCount tokenCount)
    {
        Ids = ids;
        Offsets = offsets;
        TokenCount = tokenCount;
    }

    public uint[] Ids { get; }

    /// <summary>For each id its characters; empty for special tokens and those of the prompt.</summary>
    public StellaTokenOffset[] Offsets { get; }

    public StellaTokenCount TokenCount { get; }

    /// <summary>Tokenizes a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="condenser">Knows how much of the text is looked at.</param>
    /// <param name="text">The text.</param>
    /// <param name="options">The prompt and what to do with a long or invalid text.</param>
    /// <exception cref="StellaInputException">The text is not valid Unicode, or too long where that is an error.</exception>
    public static unsafe PlacedTokens Of(ModelHandle model, ITextCondenser condenser, string text, StellaEmbedOptions options)
    {
        var pack = new PackedTexts();
        pack.FillWithUnits(text, options.FirstTextIndex, options.InvalidTextBehavior, condenser);
        var native = new NativeTokenizeOptions
        {
            size = (uint)sizeof(NativeTokenizeOptions),
            long_text = (uint)options.LongTextBehavior,
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

        ReadOnlySpan<uint> units = pack.Units;
        var offsets = new StellaTokenOffset[(int)length];
        for (int i = 0; i < offsets.Length; i++)
        {
            offsets[i] = new StellaTokenOffset { Start = (int)units[(int)found[i].begin], End = (int)units[(int)found[i].end] };
        }

        return new PlacedTokens(ids[..(int)length], offsets, count.ToManaged(pack.Replaced[0]));
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
        int first = Array.FindIndex(Offsets, token => token.Start < end && token.End > offset);
        int last = Array.FindLastIndex(Offsets, token => token.Start < end && token.End > offset);
        if (first < 0)
        {
            throw new StellaInputException(
                TokenCount.IsTruncated ? StellaErrorCode.TextTooLong : StellaErrorCode.InvalidArgument,
                $"part {index}, characters {offset} to {end}, has no token: "
                + (TokenCount.IsTruncated ? $"the text was cut at character {Offsets.Max(token => token.End)}" : "it is blank"),
                index);
        }

        return new NativeSpan { begin = (uint)first, end = (uint)last + 1 };
    }
}
