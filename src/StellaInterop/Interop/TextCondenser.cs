namespace StellaInterop.Interop;

/// <summary>Shortens long texts to the bytes that a tokenizer reads.</summary>
internal interface ITextCondenser
{
    /// <summary>Gets the number of bytes of a text, its prompt included, that the tokenizer always reads.</summary>
    long MaxBytes { get; }

    /// <summary>Condenses the beginning of a text in place: removes bytes that do not affect its tokens.</summary>
    /// <param name="utf8">The beginning of the text.</param>
    /// <param name="units">Empty, or one number per byte and one for the end. The numbers move with the bytes.</param>
    /// <param name="isEnough">Receives whether the tokenizer does not read the rest of the text.</param>
    /// <returns>The number of bytes that remain. If they are not enough, append the rest of the text to them.</returns>
    int Condense(Span<byte> utf8, Span<uint> units, out bool isEnough);
}

/// <summary>Condenses texts by the native tokenizer of a model.</summary>
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
