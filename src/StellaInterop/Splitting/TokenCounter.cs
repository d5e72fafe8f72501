using StellaInterop.Interop;

namespace StellaInterop.Splitting;

/// <summary>Counts the tokens of texts, one text at a time, and reuses its buffers. Not thread-safe.</summary>
internal sealed class TokenCounter(StellaModel model, StellaEmbedOptions options)
{
    private readonly TokenizerBuffers buffers = new();

    /// <summary>Counts the tokens of a text, special tokens and prompt included.</summary>
    public StellaTokenCount Count(string text)
    {
        StellaTokenCount count = default;
        foreach ((_, TokenizedPack pack) in model.Tokenizer.Tokenize([text], firstTextIndex: 0, options, buffers))
        {
            count = pack.CountOf(0);
        }

        return count;
    }
}
