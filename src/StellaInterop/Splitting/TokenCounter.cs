using StellaInterop.Interop;

namespace StellaInterop.Splitting;

/// <summary>Counts the tokens of one text after the other in the same memory.</summary>
internal sealed class TokenCounter(StellaModel model, StellaEmbedOptions options)
{
    private readonly PackedTexts pack = new();
    private readonly TokenizedPack tokens = new();

    /// <summary>Counts the tokens of a text, special tokens and prompt included.</summary>
    public StellaTokenCount Count(string text)
    {
        pack.Fill([text], firstText: 0, options.InvalidTextBehavior, model.Condenser);
        tokens.Fill(model.Handle, pack, options, model.Info);
        return tokens.CountOf(0, pack.Replaced[0]);
    }
}
