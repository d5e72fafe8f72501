namespace StellaInterop.Interop;

/// <summary>Represents the tokens of one text, each with its offset: the characters of the text that it comes from.</summary>
internal sealed class TokensWithOffsets
{
    private TokensWithOffsets(uint[] ids, StellaTokenOffset[] offsets, StellaTokenCount tokenCount)
    {
        Ids = ids;
        Offsets = offsets;
        TokenCount = tokenCount;
    }

    public uint[] Ids { get; }

    /// <summary>Gets the offset of each token; empty for special tokens and for tokens of the prompt.</summary>
    public StellaTokenOffset[] Offsets { get; }

    public StellaTokenCount TokenCount { get; }

    /// <summary>Tokenizes a text.</summary>
    /// <param name="model">The model.</param>
    /// <param name="condenser">The part of the tokenizer that shortens a long text.</param>
    /// <param name="text">The text.</param>
    /// <param name="options">The prompt, and the behavior for a long or invalid text.</param>
    /// <exception cref="StellaInputException">
    /// The text is not valid Unicode with <see cref="StellaInvalidTextBehavior.Error"/>, or too long with
    /// <see cref="StellaLongTextBehavior.Error"/>.
    /// </exception>
    public static unsafe TokensWithOffsets Of(ModelHandle model, ITextCondenser condenser, string text, StellaEmbedOptions options)
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
        uint[] ids = new uint[ModelLimits.MaxTextTokens];
        var bytes = new NativePlace[ids.Length];
        NativeTokenCount count;
        nuint length;
        fixed (byte* utf8 = pack.Utf8, prompt = options.Prompt.Utf8)
        fixed (uint* idsPointer = ids)
        fixed (NativePlace* bytesPointer = bytes)
        {
            native.prompt = prompt;
            native.prompt_length = (nuint)options.Prompt.Utf8.Length;
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_tokenize_places(
                (NativeModel*)lease.Value,
                utf8,
                (nuint)pack.Length,
                &native,
                idsPointer,
                bytesPointer,
                (nuint)ids.Length,
                &count,
                &length), pack);
        }

        // Native offsets are bytes of the UTF-8 text.
        ReadOnlySpan<uint> units = pack.Units;
        var offsets = new StellaTokenOffset[(int)length];
        for (int i = 0; i < offsets.Length; i++)
        {
            offsets[i] = new StellaTokenOffset { Start = (int)units[(int)bytes[i].begin], End = (int)units[(int)bytes[i].end] };
        }

        return new TokensWithOffsets(ids[..(int)length], offsets, count.ToManaged(pack.Replaced[0]));
    }

    /// <summary>Returns the tokens of each part of the text.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A part ends outside the text.</exception>
    /// <exception cref="StellaInputException">A part has no characters, or shares no character with a token.</exception>
    public NativeSpan[] SpansOf(ReadOnlySpan<Range> parts, int textLength)
    {
        var spans = new NativeSpan[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            spans[i] = SpanOf(parts[i], textLength, i);
        }

        return spans;
    }

    private NativeSpan SpanOf(Range part, int textLength, int index)
    {
        (int offset, int length) = part.GetOffsetAndLength(textLength);
        if (length == 0)
        {
            // An empty range inside a token would get the vector of that whole token.
            throw new StellaInputException(
                StellaErrorCode.InvalidArgument,
                $"Part {index} has no characters: it begins and ends at character {offset}. Pass a range of at least one character.",
                index);
        }

        int end = offset + length;
        int first = Array.FindIndex(Offsets, token => token.Start < end && token.End > offset);
        int last = Array.FindLastIndex(Offsets, token => token.Start < end && token.End > offset);
        if (first < 0)
        {
            throw new StellaInputException(
                TokenCount.IsTruncated ? StellaErrorCode.TextTooLong : StellaErrorCode.InvalidArgument,
                $"Part {index}, characters {offset} to {end}, has no token: "
                + (TokenCount.IsTruncated
                    ? $"the text was cut at character {Offsets.Max(token => token.End)}. Raise MaxTokens, or shorten the text."
                    : "it is blank. Leave the part out."),
                index);
        }

        return new NativeSpan { begin = (uint)first, end = (uint)last + 1 };
    }
}
