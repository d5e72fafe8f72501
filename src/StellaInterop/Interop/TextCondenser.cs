namespace StellaInterop.Interop;

/// <summary>Knows how much of a long text a tokenizer looks at.</summary>
internal interface ITextCondenser
{
    /// <summary>Bytes of a text, its prompt included, that are looked at in any case.</summary>
    long MaxBytes { get; }

    /// <summary>Shortens the beginning of a text where it stands, without a change of its tokens.</summary>
    /// <param name="utf8">The beginning.</param>
    /// <param name="units">Empty, or a number for each byte and one more, which move with the bytes.</param>
    /// <param name="isEnough">Whether nothing that follows in the text is looked at.</param>
    /// <returns>The bytes that are left. If that is not enough, what follows in the text goes behind them.</returns>
    int Condense(Span<byte> utf8, Span<uint> units, out bool isEnough);
}

/// <summary>Asks the tokenizer of a model.</summary>
internal sealed class TextCondenser(ModelHandle model, long maxBytes) : ITextCondenser
{
    public long MaxBytes => maxBytes;

    public unsafe int Condense(Span<byte> utf8, Span<uint> units, out bool isEnough)
    {
        using var lease = new HandleLease(model);
        nuint length;
        uint enough;
        fixed (byte* text = utf8)
        fixed (uint* numbers = units)
        {
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_condense(
                (NativeModel*)lease.Value, text, (nuint)utf8.Length, numbers, &length, &enough));
        }

        isEnough = enough != 0;
        return (int)length;
    }
}
