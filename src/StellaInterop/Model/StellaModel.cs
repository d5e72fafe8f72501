using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using StellaInterop.Interop;
using StellaInterop.ModelFiles;

namespace StellaInterop;

/// <summary>Represents a loaded Stella model, which embeds and tokenizes texts.</summary>
/// <remarks>
/// Thread-safe: one instance serves any number of threads at once, and they share its weights. A call blocks its thread until it is
/// done; <see cref="StellaEmbeddingPool"/> has asynchronous calls. <see cref="Dispose"/> may be called at any time, from any thread and
/// more than once: running calls finish, later ones throw <see cref="ObjectDisposedException"/>.
/// </remarks>
public sealed class StellaModel : IDisposable
{
    private readonly SessionCache sessions;
    private readonly int batchTokens;
    private volatile bool disposed;

    private StellaModel(ModelHandle handle, string path, StellaModelOptions options)
    {
        Handle = handle;
        Options = options;
        Info = ModelInfoReader.Read(handle, path, NameOf(path, options));
        Tokenizer = new ModelTokenizer(handle, Info);
        batchTokens = Math.Max(ModelLimits.DefaultBatchTokens, Info.MaxTokens);
        sessions = new SessionCache(handle, options.Threads ?? 0, batchTokens, typeof(StellaModel));
    }

    /// <summary>Gets the properties of the model.</summary>
    public StellaModelInfo Info { get; }

    /// <summary>Gets the handle, for sessions that are not those of the model's own calls.</summary>
    internal ModelHandle Handle { get; }

    /// <summary>Gets the options that the model was loaded with.</summary>
    internal StellaModelOptions Options { get; }

    /// <summary>Gets the tokenizer.</summary>
    internal ModelTokenizer Tokenizer { get; }

    internal bool IsDisposed => disposed;

    /// <summary>
    /// Loads a model from a folder of the sentence-transformers layout. Blocks for the load, which takes seconds for a large model.
    /// </summary>
    /// <param name="path">
    /// The folder, with <c>config.json</c>, <c>tokenizer.json</c>, <c>modules.json</c>, the weights and the heads.
    /// </param>
    /// <param name="options">The options of the load; <see langword="null"/> for the defaults.</param>
    /// <returns>The model. Dispose it to free its memory.</returns>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaModelFolderException">The folder or a file in it is missing, damaged or not supported.</exception>
    /// <exception cref="StellaTokenizerException">The tokenizer cannot be used.</exception>
    /// <exception cref="StellaOptionException">The model cannot meet an option, such as a dimension that it does not have.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of the model.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread that the load needs.</exception>
    /// <exception cref="StellaNativeLibraryNotFoundException">The native library could not be loaded.</exception>
    /// <exception cref="StellaAbiMismatchException">The native library belongs to another version of this package.</exception>
    public static StellaModel Load(string path, StellaModelOptions? options = null)
    {
        options = CheckedCopy(path, options);
        ModelHandle handle = ModelFolderReader.Open(path, options);
        try
        {
            return new StellaModel(handle, path, options);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Loads a model from a folder of the sentence-transformers layout, on a thread of its own.</summary>
    /// <remarks>
    /// Invalid arguments throw at the call, before it returns its task; all other errors are in the task. A native load cannot be
    /// stopped: if <paramref name="cancellationToken"/> is cancelled, the task ends at once, and the model is freed when its load ends.
    /// </remarks>
    /// <param name="path">The folder, as for <see cref="Load"/>.</param>
    /// <param name="options">The options of the load; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that stops waiting for the load.</param>
    /// <returns>The model. Dispose it to free its memory.</returns>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <inheritdoc cref="Load" path="/exception"/>
    public static Task<StellaModel> LoadAsync(
        string path, StellaModelOptions? options = null, CancellationToken cancellationToken = default)
    {
        StellaModelOptions copy = CheckedCopy(path, options);
        return cancellationToken.IsCancellationRequested
            ? Task.FromCanceled<StellaModel>(cancellationToken)
            : ModelLoading.RunAsync(() => Load(path, copy), cancellationToken);
    }

    /// <summary>
    /// Estimates the memory of a model from its configuration and the headers of its files, without loading it. Reads a few small files.
    /// </summary>
    /// <param name="path">The folder, as for <see cref="Load"/>.</param>
    /// <param name="options">The options of the load; <see langword="null"/> for the defaults.</param>
    /// <param name="workload">The calls that the model will run; <see langword="null"/> for one call at a time.</param>
    /// <returns>
    /// Bytes by purpose, on top of what the process used before. Measured processes used at most the total, and at least half of it.
    /// </returns>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaModelFolderException">The folder or a file in it is missing, damaged or not supported.</exception>
    /// <exception cref="StellaOptionException">The model cannot meet an option, such as a dimension that it does not have.</exception>
    /// <exception cref="StellaNativeLibraryNotFoundException">The native library could not be loaded.</exception>
    /// <exception cref="StellaAbiMismatchException">The native library belongs to another version of this package.</exception>
    public static StellaMemoryEstimate EstimateMemory(
        string path, StellaModelOptions? options = null, StellaWorkload? workload = null)
    {
        options = CheckedCopy(path, options);
        workload ??= new StellaWorkload();
        workload.Check();
        return ModelFolderReader.EstimateMemory(path, options, workload);
    }

    /// <summary>Embeds one text. Blocks the calling thread.</summary>
    /// <remarks>
    /// <see cref="StellaEmbeddingPool.EmbedAsync(string, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)"/> does not block. The
    /// overloads for several texts also return the number of tokens and tell whether a text was truncated.
    /// </remarks>
    /// <param name="text">The text. A blank text is embedded as its special tokens.</param>
    /// <param name="options">
    /// The options of the text; <see langword="null"/> for the defaults. Set <see cref="StellaEmbedOptions.Prompt"/> to
    /// <see cref="StellaPrompt.SearchQuery"/> for a search query; a wrong prompt makes worse results without an error.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>The vector, of length <see cref="StellaEmbedOptions.Dimension"/> or the model's default.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// The text is not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector, because the result is
    /// zero or not finite.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension cannot be read. A head is read at its first use.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">
    /// The forward pass failed; <see cref="StellaException.Code"/> is the kind of the failure.
    /// </exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public float[] Embed(string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        float[] vector = new float[Info.HeadsOf(options ?? StellaEmbedOptions.Default).RowLength];
        Embed([text], vector, options, cancellationToken);
        return vector;
    }

    /// <summary>Embeds texts. Blocks the calling thread.</summary>
    /// <remarks>
    /// One call with many texts is faster than many calls, because the model embeds the texts in batches.
    /// <see cref="StellaEmbeddingPool.EmbedAsync(IReadOnlyList{string}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)"/>
    /// does not block.
    /// </remarks>
    /// <param name="texts">The texts, in any number. A blank text is embedded as its special tokens.</param>
    /// <param name="options">
    /// The options of all texts; <see langword="null"/> for the defaults. Set <see cref="StellaEmbedOptions.Prompt"/> to
    /// <see cref="StellaPrompt.SearchQuery"/> for search queries; a wrong prompt makes worse results without an error.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>A list with one vector per text, in the order of the texts, and the number of tokens of each text.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <exception cref="ArgumentException">The vectors have more numbers than an array can have.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector, because the result is
    /// zero or not finite. <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension cannot be read. A head is read at its first use.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">
    /// The forward pass failed; <see cref="StellaException.Code"/> is the kind of the failure.
    /// </exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    [OverloadResolutionPriority(2)] // An array is also a span, and options may be written new() { … }, null or default.
    public StellaEmbeddings Embed(
        IReadOnlyList<string> texts, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        string[] copy = [.. texts];
        int rowLength = Info.HeadsOf(options ?? StellaEmbedOptions.Default).RowLength;
        float[] vectors = StellaEmbeddings.Rows(copy.Length, rowLength);
        var counts = new StellaTokenCount[copy.Length];
        Embed(copy, vectors, counts, options, cancellationToken);
        return new StellaEmbeddings(vectors, rowLength, counts, new StellaCallSummary
        {
            TextCount = counts.Length,
            TokenCount = counts.Sum(count => (long)count.Kept),
            TruncatedTextCount = counts.Count(count => count.IsTruncated),
            Failures = [],
            QueueTime = TimeSpan.Zero,
        });
    }

    /// <summary>Embeds texts into a buffer of the caller.</summary>
    /// <inheritdoc cref="Embed(ReadOnlySpan{string}, Span{float}, Span{StellaTokenCount}, StellaEmbedOptions?, CancellationToken)"/>
    [OverloadResolutionPriority(1)]
    public void Embed(
        ReadOnlySpan<string> texts,
        Span<float> destination,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default) =>
        Embed(texts, destination, [], options, cancellationToken);

    /// <summary>Embeds texts into a buffer of the caller and counts their tokens. Blocks the calling thread.</summary>
    /// <remarks>
    /// Allocates no managed memory after the first call of its size, with texts of up to a million characters, because the model keeps its
    /// buffers. A token that can be cancelled costs the registration of a callback with its source.
    /// </remarks>
    /// <param name="texts">The texts, in any number. A blank text is embedded as its special tokens.</param>
    /// <param name="destination">
    /// Receives one row per text, row-major <c>[texts, dimension]</c>; at least <c>texts.Length * dimension</c> long. Its content is not
    /// defined when the call throws.
    /// </param>
    /// <param name="tokenCounts">Receives the length of each text in tokens; at least <c>texts.Length</c> long, or empty.</param>
    /// <param name="options">The options of the texts; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <exception cref="ArgumentException">A buffer is too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector, because the result is
    /// zero or not finite. <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension cannot be read. A head is read at its first use.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">
    /// The forward pass failed; <see cref="StellaException.Code"/> is the kind of the failure.
    /// </exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public void Embed(
        ReadOnlySpan<string> texts,
        Span<float> destination,
        Span<StellaTokenCount> tokenCounts,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        options ??= StellaEmbedOptions.Default;
        options.Check(texts.Length);
        Heads heads = Info.HeadsOf(options);
        Guard.ThrowIfNoRoomForVectors(texts.Length, heads.RowLength, destination.Length, nameof(destination));
        Guard.ThrowIfNoRoomForCounts(texts.Length, tokenCounts.Length, nameof(tokenCounts));

        ThrowIfDisposed();
        cancellationToken.ThrowIfCancellationRequested();
        if (texts.IsEmpty)
        {
            return;
        }

        using var lease = new SessionLease(sessions, cancellationToken);
        BufferedSession session = lease.Session;
        using var cancel = new CancelRegistration(session.CancelFlag, cancellationToken);
        try
        {
            foreach ((int start, TokenizedPack pack) in
                Tokenizer.Tokenize(texts, options.FirstTextIndex, options, session.Buffers, cancellationToken))
            {
                for (int i = 0; i < pack.Count && !tokenCounts.IsEmpty; i++)
                {
                    tokenCounts[start + i] = pack.CountOf(i);
                }

                session.Embed(pack, batchTokens, heads, options.Normalize, cancel.Span, destination[(start * heads.RowLength)..]);
            }
        }
        catch (Exception e) when (lease.Replaces(e, out Exception replacement))
        {
            throw replacement;
        }
    }

    /// <summary>Returns the hidden states of the tokens of one text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">
    /// The options of the text; <see langword="null"/> for the defaults. Normalization is not used. The dimension must be one of the
    /// model's, although the head is not applied.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>One hidden state per token, special tokens and prompt included, with the characters that the token comes from.</returns>
    /// <inheritdoc cref="Embed(string, StellaEmbedOptions?, CancellationToken)" path="/exception"/>
    public StellaTokenEmbeddings EmbedTokens(
        string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        options ??= StellaEmbedOptions.Default;
        options.Check();
        TokensWithOffsets tokens = Tokenizer.TokenizeWithOffsets(text, options);
        float[] hidden = new float[tokens.Ids.Length * Info.HiddenSize];
        RunTokens(tokens, [], hidden, [], options, cancellationToken);
        return new StellaTokenEmbeddings(tokens.Ids, tokens.Offsets, tokens.TokenCount, hidden, Info.HiddenSize);
    }

    /// <summary>
    /// Embeds parts of one text in the context of the whole text (late chunking): one forward pass runs the text, and the head projects
    /// the mean over the tokens of each part.
    /// </summary>
    /// <remarks>
    /// A token belongs to every part with which it shares a character. Method: Günther et al., "Late Chunking",
    /// arXiv:2409.04701.
    /// </remarks>
    /// <param name="text">The whole text.</param>
    /// <param name="parts">Ranges of characters (UTF-16 units) of <paramref name="text"/>; they may overlap.</param>
    /// <param name="destination">
    /// Receives one row per part, row-major <c>[parts, dimension]</c>; at least <c>parts.Length * dimension</c> long.
    /// </param>
    /// <param name="options">The options of the text; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>The number of tokens of the whole text.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A part ends outside the text, or the dimension of the options is below 1.</exception>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    /// <exception cref="StellaInputException">
    /// The text is not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>. Or a part has no token, because it is
    /// empty, blank or in the truncated rest, or has a vector that is zero or not finite;
    /// <see cref="StellaInputException.TextIndex"/> is then the index of the part.
    /// </exception>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <exception cref="StellaOptionException">
    /// The model has no head of the dimension of the options, or no prompt of the name; or <see cref="StellaModelInfo.PoolingMode"/> is not
    /// <see cref="StellaPoolingMode.Mean"/>.
    /// </exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension cannot be read. A head is read at its first use.</exception>
    /// <exception cref="StellaException">
    /// The forward pass failed; <see cref="StellaException.Code"/> is the kind of the failure.
    /// </exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTokenCount EmbedParts(
        string text,
        ReadOnlySpan<Range> parts,
        Span<float> destination,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        options ??= StellaEmbedOptions.Default;
        options.Check();
        Heads heads = Info.HeadsOf(options);
        Guard.ThrowIfNoRoomForVectors(parts.Length, heads.RowLength, destination.Length, nameof(destination));
        TokensWithOffsets tokens = Tokenizer.TokenizeWithOffsets(text, options);
        NativeSpan[] spans = tokens.SpansOf(parts, text.Length);
        RunTokens(tokens, spans, [], destination[..(parts.Length * heads.RowLength)], options, cancellationToken);
        return tokens.TokenCount;
    }

    /// <summary>Tokenizes one text, as <see cref="Embed(string, StellaEmbedOptions?, CancellationToken)"/> does.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">
    /// The options of the text; <see langword="null"/> for the defaults. Dimension and normalization are not used.
    /// </param>
    /// <returns>The ids of the tokens, and their number before truncation.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <exception cref="StellaInputException">
    /// The text is not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no prompt of the name.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTokens Tokenize(string text, StellaEmbedOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Tokenize((ReadOnlySpan<string>)[text], options)[0];
    }

    /// <summary>Tokenizes one text, and finds the characters that each token comes from.</summary>
    internal StellaTokens TokenizeWithOffsets(string text, StellaEmbedOptions? options)
    {
        TokensWithOffsets tokens = Tokenizer.TokenizeWithOffsets(text, options ?? StellaEmbedOptions.Default);
        return new StellaTokens(MemoryMarshal.Cast<uint, int>(tokens.Ids).ToArray(), tokens.TokenCount, tokens.Offsets);
    }

    /// <summary>Tokenizes texts, as <see cref="Embed(IReadOnlyList{string}, StellaEmbedOptions?, CancellationToken)"/> does.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="options">
    /// The options of all texts; <see langword="null"/> for the defaults. Dimension and normalization are not used.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call between texts.</param>
    /// <returns>The tokens of each text, in the order of the texts.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <inheritdoc cref="Tokenize(ReadOnlySpan{string}, StellaEmbedOptions?, CancellationToken)" path="/exception"/>
    public StellaTokens[] Tokenize(
        IReadOnlyList<string> texts, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        return Tokenize((ReadOnlySpan<string>)[.. texts], options, cancellationToken);
    }

    /// <summary>Tokenizes texts, as <see cref="Embed(string, StellaEmbedOptions?, CancellationToken)"/> does.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="options">
    /// The options of the texts; <see langword="null"/> for the defaults. Dimension and normalization are not used.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call between texts.</param>
    /// <returns>The tokens of each text, in the order of the texts.</returns>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>;
    /// <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no prompt of the name.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTokens[] Tokenize(
        ReadOnlySpan<string> texts, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= StellaEmbedOptions.Default;
        options.Check(texts.Length);
        ThrowIfDisposed();
        var result = new StellaTokens[texts.Length];
        foreach ((int start, TokenizedPack pack) in
            Tokenizer.Tokenize(texts, options.FirstTextIndex, options, new TokenizerBuffers(), cancellationToken))
        {
            for (int i = 0; i < pack.Count; i++)
            {
                result[start + i] = new StellaTokens(pack.IdsOf(i).ToArray(), pack.CountOf(i));
            }
        }

        return result;
    }

    /// <summary>
    /// Gets the fingerprint of the vectors of a dimension: a hash of the weights and settings that determine them, the same on every
    /// machine. Stores and caches of vectors use it as the key of the model; logs and metrics show <see cref="StellaModelInfo.Name"/>.
    /// </summary>
    /// <remarks>
    /// <para>
    /// The first call hashes the files. The model keeps the hashes, so that later calls take microseconds. The hashes of files come from
    /// the manifest or from the names of the blobs in a Hugging Face cache, which are not verified. Other files are read whole, about 1
    /// to 2 seconds for a gigabyte. Models that were loaded from the same files share the hashes. Thread-safe: callers that ask at once
    /// wait for one computation.
    /// </para>
    /// <para>
    /// The fingerprint is the SHA-256 of the lines that <c>sha256sum</c> prints for the files that a load reads, in the order of the bytes
    /// of their paths. The files are settings, tokenizer, weights and the head of the dimension, but not the manifest and not other heads,
    /// so that the fingerprint does not depend on the heads that were downloaded. Precision and instruction set do not change it. A wrong
    /// hash in a manifest or in the name of a blob makes a wrong fingerprint: <c>stella verify</c> compares the hashes with the files.
    /// </para>
    /// </remarks>
    /// <param name="dimension">One of <see cref="StellaModelInfo.Dimensions"/>; <see langword="null"/> for the model's default.</param>
    /// <returns>64 lower case hexadecimal digits.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The dimension is below 1.</exception>
    /// <exception cref="StellaOptionException">The model has no head of this dimension.</exception>
    /// <exception cref="StellaModelFolderException">
    /// A file cannot be read, or changed since the model was loaded. The next call tries again.
    /// </exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public string GetFingerprint(int? dimension = null)
    {
        Guard.ThrowIfNotPositive(dimension, nameof(dimension));
        ThrowIfDisposed();
        return Handle.GetFingerprint(dimension);
    }

    /// <summary>Frees the model when the last running call has ended. May be called more than once, from any thread.</summary>
    public void Dispose()
    {
        disposed = true;
        sessions.Dispose();
        Handle.Dispose();
    }

    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(disposed, this);

    /// <summary>Returns the display name of a model.</summary>
    internal static string NameOf(string path, StellaModelOptions options) => Printable.Line(
        options.Name
        ?? HuggingFaceCache.NameOf(path)
        ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))));

    private void RunTokens(
        TokensWithOffsets tokens,
        ReadOnlySpan<NativeSpan> spans,
        Span<float> hiddenStates,
        Span<float> vectors,
        StellaEmbedOptions options,
        CancellationToken cancellationToken)
    {
        ThrowIfDisposed();
        cancellationToken.ThrowIfCancellationRequested();
        Heads heads = Info.HeadsOf(options);
        using var lease = new SessionLease(sessions, cancellationToken);
        using var cancel = new CancelRegistration(lease.Session.CancelFlag, cancellationToken);
        try
        {
            lease.Session.Handle.EmbedTokens(tokens.Ids, spans, heads, options.Normalize, cancel.Span, hiddenStates, vectors);
        }
        catch (Exception e) when (lease.Replaces(e, out Exception replacement))
        {
            throw replacement;
        }
    }

    /// <summary>Checks the options and copies them, so that the caller may change its own.</summary>
    /// <exception cref="ArgumentException">The path is null or empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    private static StellaModelOptions CheckedCopy(string path, StellaModelOptions? options)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        StellaModelOptions copy = options is null ? new StellaModelOptions() : options with { };
        copy.Check();
        return copy;
    }
}
