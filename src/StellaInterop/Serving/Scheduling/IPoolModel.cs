using StellaInterop.Interop;
using StellaInterop.Memory;

namespace StellaInterop.Serving;

/// <summary>The source of a pool's model: a folder, a loaded model, or a fake one in tests.</summary>
internal interface IPoolModelSource
{
    /// <summary>Gets the name of the model in logs, metrics and errors.</summary>
    string Name { get; }

    /// <summary>Gets the properties of a model that is loaded already; <see langword="null"/> for a model that the pool loads.</summary>
    StellaModelInfo? Info => null;

    /// <summary>Gets whether the owner disposed the model, so that no attempt to load it can succeed any more.</summary>
    bool IsDisposed => false;

    /// <summary>Estimates the memory of the model from the headers of its files.</summary>
    StellaMemoryEstimate Estimate(int threads, int batchTokens);

    /// <summary>Loads the model.</summary>
    IPoolModel Load();
}

/// <summary>A loaded model. Thread-safe.</summary>
internal interface IPoolModel : IDisposable
{
    StellaModelInfo Info { get; }

    /// <summary>Tokenizes texts. The tokens of a text do not depend on the other texts.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="firstText">The index of the first, for errors.</param>
    /// <param name="options">The prompt, and the behavior for long and invalid texts.</param>
    /// <param name="tokens">Receives the tokens of each text.</param>
    /// <exception cref="StellaInputException">A text is null, not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>.</exception>
    void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens);

    /// <summary>Returns the fingerprint of the vectors of a dimension, null for the default one. May read all files of the model.</summary>
    string GetFingerprint(int? dimension);

    /// <summary>Gets the model itself, for calls that use neither the scheduler nor the workers.</summary>
    /// <exception cref="NotSupportedException">The model is a fake of a test.</exception>
    StellaModel Model => throw new NotSupportedException();

    /// <summary>Makes the session of one worker.</summary>
    IPoolSession StartSession(int threads, int batchTokens);
}

/// <summary>The session of one worker: the threads and the memory of its forward passes. Runs one call at a time.</summary>
internal interface IPoolSession : IDisposable
{
    /// <summary>Embeds packed texts.</summary>
    /// <param name="batch">The texts.</param>
    /// <param name="kind">The form of the vectors.</param>
    /// <param name="cancelFlag">An array of one number. Native code polls it at every layer, and stops if it is not 0.</param>
    /// <param name="rows">Receives one row per text.</param>
    /// <exception cref="StellaInputException">A text cannot be embedded; its index is the one in the batch.</exception>
    /// <exception cref="StellaException">The forward pass failed.</exception>
    /// <exception cref="OperationCanceledException">The flag was set.</exception>
    void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows);
}

/// <summary>The tokens of one text.</summary>
/// <param name="Ids">The token ids. Texts that were tokenized together share an array.</param>
/// <param name="Count">The number of tokens, and the number without the limit of the model.</param>
/// <param name="LeftOut">The number of tokens at the beginning that the pooling leaves out.</param>
internal readonly record struct TokenizedText(ReadOnlyMemory<uint> Ids, StellaTokenCount Count, uint LeftOut = 0);

/// <summary>The form of a row. The texts of one native call have it in common.</summary>
internal readonly record struct VectorKind(Heads Heads, bool Normalize)
{
    /// <summary>Gets the length of a row.</summary>
    public int RowLength => Heads.RowLength;
}
