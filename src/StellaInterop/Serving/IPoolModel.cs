using StellaInterop.Interop;
using StellaInterop.Memory;

namespace StellaInterop.Serving;

/// <summary>Where a pool's model comes from: a folder, or in tests something that behaves as it is told.</summary>
internal interface IPoolModelSource
{
    /// <summary>What the model is called in logs, metrics and errors.</summary>
    string Name { get; }

    /// <summary>The properties of a model that is loaded already; <see langword="null"/> for any other.</summary>
    StellaModelInfo? Info => null;

    /// <summary>Whether the model was disposed by its owner, so that no attempt to load it can succeed any more.</summary>
    bool IsDisposed => false;

    /// <summary>What the model takes, from the headers of its files.</summary>
    StellaMemoryEstimate Estimate(int threads, int batchTokens);

    /// <summary>Loads the model.</summary>
    IPoolModel Load();
}

/// <summary>A loaded model. Thread-safe.</summary>
internal interface IPoolModel : IDisposable
{
    StellaModelInfo Info { get; }

    /// <summary>Tokenizes texts, each for itself.</summary>
    /// <param name="texts">The texts.</param>
    /// <param name="firstText">The index of the first, for errors.</param>
    /// <param name="options">The prompt and what to do with long and invalid texts.</param>
    /// <param name="tokens">Receives the tokens of each text.</param>
    /// <exception cref="StellaInputException">A text is null, not valid Unicode, or too long where that is an error.</exception>
    void Tokenize(ReadOnlySpan<string> texts, int firstText, StellaEmbedOptions options, Span<TokenizedText> tokens);

    /// <summary>Gets the fingerprint of the vectors of a dimension, the default one for null; may read all files of the model.</summary>
    string GetFingerprint(int? dimension);

    /// <summary>Starts what one worker computes with.</summary>
    IPoolSession StartSession(int threads, int batchTokens);
}

/// <summary>What one worker computes with. One call at a time.</summary>
internal interface IPoolSession : IDisposable
{
    /// <summary>Embeds packed texts.</summary>
    /// <param name="batch">The texts.</param>
    /// <param name="kind">What the vectors are to be.</param>
    /// <param name="cancelFlag">One number that stops the call soon after it is other than 0.</param>
    /// <param name="rows">Receives a row for each text.</param>
    /// <exception cref="StellaInputException">A text cannot be embedded; its index is that in the batch.</exception>
    /// <exception cref="StellaException">The forward failed.</exception>
    /// <exception cref="OperationCanceledException">The flag was set.</exception>
    void Embed(TokenBatch batch, VectorKind kind, uint[] cancelFlag, Span<float> rows);
}

/// <summary>The tokens of one text.</summary>
/// <param name="Text">The string that they were made from: it identifies the text from here on.</param>
/// <param name="Ids">The tokens.</param>
/// <param name="Count">How many there are, and would be without a limit.</param>
/// <param name="LeftOut">Tokens at the beginning that take no part in the vector.</param>
internal readonly record struct TokenizedText(string Text, uint[] Ids, StellaTokenCount Count, uint LeftOut = 0);

/// <summary>What vectors are to be. Texts of one native call have it in common.</summary>
internal readonly record struct VectorKind(int Dimension, bool Normalize);

/// <summary>Texts with the same key have the same vector.</summary>
/// <param name="Text">The text.</param>
/// <param name="Prompt">The prompt before it.</param>
/// <param name="Kind">The form of the vector.</param>
/// <param name="FileStamp">The files that the model was loaded from: a model of other files gives other vectors.</param>
internal readonly record struct TextKey(string Text, StellaPrompt Prompt, VectorKind Kind, ulong FileStamp);
