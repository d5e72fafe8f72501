using System.Runtime.CompilerServices;
using System.Text;
using Microsoft.Extensions.Logging;
using StellaInterop.Interop;
using StellaInterop.ModelFiles;
using StellaInterop.Serving;

namespace StellaInterop;

/// <summary>Represents a loaded Stella model, which embeds and tokenizes texts.</summary>
/// <remarks>
/// Thread-safe: one instance serves any number of threads at once, and they share its weights. A call blocks its thread until it is
/// done; <see cref="StellaEmbeddingPool"/> has asynchronous calls. <see cref="Dispose"/> may be called at any time, from any thread and
/// more than once: running calls finish, later ones throw <see cref="ObjectDisposedException"/>.
/// </remarks>
public sealed unsafe class StellaModel : IDisposable
{
    /// <summary>The tokens of one native call: enough to keep every thread busy. More would only need memory.</summary>
    internal const int BatchTokens = (int)NativeMethods.STELLA_DEFAULT_BATCH_TOKENS;

    private readonly ModelHandle handle;
    private readonly SessionCache sessions;
    private readonly int batchTokens;
    private volatile bool disposed;

    private StellaModel(ModelHandle handle, string path, StellaModelOptions options)
    {
        this.handle = handle;
        Options = options;
        Info = ModelInfoReader.Read(handle, path, NameOf(path, options));
        Condenser = new TextCondenser(handle, Info.MaxTextBytes);
        batchTokens = Math.Max(BatchTokens, Info.MaxTokens);
        sessions = new SessionCache(handle, new NativeSessionOptions
        {
            size = (uint)sizeof(NativeSessionOptions),
            threads = (uint)(options.Threads ?? 0),
            max_batch_tokens = (uint)batchTokens,
        });
    }

    /// <summary>Gets the properties of the model.</summary>
    public StellaModelInfo Info { get; }

    /// <summary>The handle, for code that runs the model beside its own calls.</summary>
    internal ModelHandle Handle => handle;

    /// <summary>The options that the model was loaded with.</summary>
    internal StellaModelOptions Options { get; }

    /// <summary>Knows how much of a long text the model's tokenizer reads.</summary>
    internal ITextCondenser Condenser { get; }

    /// <summary>Loads a model from a folder of the sentence-transformers layout. Blocks for the load, which takes seconds for a large model.</summary>
    /// <param name="path">The folder, with <c>config.json</c>, <c>tokenizer.json</c>, <c>modules.json</c>, the weights and the heads.</param>
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
        NativeLibraryLoader.EnsureLoaded();
        ModelHandle handle = Open(path, options);
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

    /// <summary>Estimates the memory of a model from its configuration and the headers of its files, without loading it. Reads a few small files.</summary>
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
        NativeLibraryLoader.EnsureLoaded();
        byte[] utf8 = Encoding.UTF8.GetBytes(path);
        byte[] manifest = Encoding.UTF8.GetBytes(options.ManifestPath ?? string.Empty);
        var nativeWorkload = new NativeWorkload
        {
            size = (uint)sizeof(NativeWorkload),
            sessions = (uint)workload.Sessions,
            threads = (uint)(workload.Threads ?? options.Threads ?? 0),
            max_batch_tokens = (uint)workload.MaxBatchTokens,
        };
        var found = new NativeMemoryEstimate { size = (uint)sizeof(NativeMemoryEstimate) };
        fixed (byte* pathPointer = utf8, manifestPointer = manifest)
        {
            NativeModelOptions native = ToNative(options, manifestPointer, manifest.Length);
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_model_estimate(pathPointer, (nuint)utf8.Length, &native, &nativeWorkload, &found));
        }

        return new StellaMemoryEstimate
        {
            WeightsBytes = checked((long)found.weights),
            TokenizerBytes = checked((long)found.tokenizer),
            LoadingBytes = checked((long)found.loading),
            SessionBytes = checked((long)found.session),
            TotalBytes = checked((long)found.total),
        };
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
    /// The text is not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector, because the result is zero
    /// or not finite.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension is read at its first use, and cannot be.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">The forward pass failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public float[] Embed(string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        float[] vector = new float[Info.DimensionOf(options ?? StellaEmbedOptions.Default)];
        Embed([text], vector, options, cancellationToken);
        return vector;
    }

    /// <summary>Embeds texts. Blocks the calling thread.</summary>
    /// <remarks>
    /// One call with many texts is faster than many calls: the model makes batches of them.
    /// <see cref="StellaEmbeddingPool.EmbedAsync(IReadOnlyList{string}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)"/> does not
    /// block.
    /// </remarks>
    /// <param name="texts">The texts, in any number. A blank text is embedded as its special tokens.</param>
    /// <param name="options">
    /// The options of all texts; <see langword="null"/> for the defaults. Set <see cref="StellaEmbedOptions.Prompt"/> to
    /// <see cref="StellaPrompt.SearchQuery"/> for search queries; a wrong prompt makes worse results without an error.
    /// </param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>A list with one vector per text, in the order of the texts, and the number of tokens of each text.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <exception cref="ArgumentException">The vectors are more numbers than an array holds.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector, because the result is
    /// zero or not finite. <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaModelFolderException">The head of the dimension is read at its first use, and cannot be.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">The forward pass failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    [OverloadResolutionPriority(2)] // An array is also a span, and options may be written new() { … }, null or default.
    public StellaEmbeddings Embed(
        IReadOnlyList<string> texts, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        string[] copy = [.. texts];
        int dimension = Info.DimensionOf(options ?? StellaEmbedOptions.Default);
        float[] vectors = StellaEmbeddings.Rows(copy.Length, dimension);
        var counts = new StellaTokenCount[copy.Length];
        Embed(copy, vectors, counts, options, cancellationToken);
        return new StellaEmbeddings(vectors, dimension, counts, new StellaCallSummary
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
    /// Allocates no managed memory once a call of its size was made, with texts of up to a million characters: the model keeps its
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
    /// <exception cref="StellaModelFolderException">The head of the dimension is read at its first use, and cannot be.</exception>
    /// <exception cref="StellaMemoryException">The system could not allocate the memory of a session or of a head.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread of a session.</exception>
    /// <exception cref="StellaException">The forward pass failed; <see cref="StellaException.Code"/> tells how.</exception>
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
        options.Check();
        ThrowIfOutOfRange(options.FirstTextIndex, texts.Length);
        int dimension = Info.DimensionOf(options);
        if (destination.Length / dimension < texts.Length)
        {
            throw new ArgumentException(
                $"{texts.Length} vectors of {dimension} need {(long)texts.Length * dimension} numbers; there is room for {destination.Length}.",
                nameof(destination));
        }

        if (!tokenCounts.IsEmpty && tokenCounts.Length < texts.Length)
        {
            throw new ArgumentException(
                $"{texts.Length} texts need as many counts; there is room for {tokenCounts.Length}.", nameof(tokenCounts));
        }

        ObjectDisposedException.ThrowIf(disposed, this);
        cancellationToken.ThrowIfCancellationRequested();
        if (texts.IsEmpty)
        {
            return;
        }

        using var lease = new SessionLease(sessions, cancellationToken);
        Session session = lease.Session;
        using var cancel = new CancelFlag(session.CancelFlag, cancellationToken);
        try
        {
            for (int first = 0; first < texts.Length; first += session.Texts.Count)
            {
                session.Texts.Fill(texts[first..], options.FirstTextIndex + first, options.InvalidTextBehavior, Condenser);
                session.Tokens.Fill(handle, session.Texts, options, Info);
                if (!tokenCounts.IsEmpty)
                {
                    for (int i = 0; i < session.Texts.Count; i++)
                    {
                        tokenCounts[first + i] = session.Tokens.CountOf(i, session.Texts.Replaced[i]);
                    }
                }

                EmbedPack(session, destination[(first * dimension)..], options, cancel);
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
        PlacedTokens tokens = PlacedTokens.Of(handle, Condenser, text, options);
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
    /// <exception cref="StellaModelFolderException">The head of the dimension is read at its first use, and cannot be.</exception>
    /// <exception cref="StellaException">The forward pass failed; <see cref="StellaException.Code"/> tells how.</exception>
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
        int dimension = Info.DimensionOf(options);
        if (destination.Length / dimension < parts.Length)
        {
            throw new ArgumentException(
                $"{parts.Length} vectors of {dimension} need {(long)parts.Length * dimension} numbers; there is room for {destination.Length}.",
                nameof(destination));
        }

        PlacedTokens tokens = PlacedTokens.Of(handle, Condenser, text, options);
        var spans = new NativeSpan[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            spans[i] = tokens.SpanOf(parts[i], text.Length, i);
        }

        RunTokens(tokens, spans, [], destination[..(parts.Length * dimension)], options, cancellationToken);
        return tokens.TokenCount;
    }

    /// <summary>Tokenizes one text, as <see cref="Embed(string, StellaEmbedOptions?, CancellationToken)"/> does.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">The options of the text; <see langword="null"/> for the defaults. Dimension and normalization are not used.</param>
    /// <returns>The ids of the tokens, and their number before truncation.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <exception cref="StellaInputException">The text is not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>.</exception>
    /// <exception cref="StellaOptionException">The model has no prompt of the name.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaTokens Tokenize(string text, StellaEmbedOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Tokenize((ReadOnlySpan<string>)[text], options)[0];
    }

    /// <summary>Tokenizes texts, as <see cref="Embed(IReadOnlyList{string}, StellaEmbedOptions?, CancellationToken)"/> does.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="options">The options of all texts; <see langword="null"/> for the defaults. Dimension and normalization are not used.</param>
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
    /// <param name="options">The options of the texts; <see langword="null"/> for the defaults. Dimension and normalization are not used.</param>
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
        options.Check();
        ThrowIfOutOfRange(options.FirstTextIndex, texts.Length);
        ObjectDisposedException.ThrowIf(disposed, this);
        var result = new StellaTokens[texts.Length];
        var pack = new PackedTexts();
        var tokens = new TokenizedPack();
        for (int first = 0; first < texts.Length; first += pack.Count)
        {
            cancellationToken.ThrowIfCancellationRequested();
            pack.Fill(texts[first..], options.FirstTextIndex + first, options.InvalidTextBehavior, Condenser);
            tokens.Fill(handle, pack, options, Info);
            for (int i = 0; i < pack.Count; i++)
            {
                result[first + i] = new StellaTokens(tokens.IdsOf(i).ToArray(), tokens.CountOf(i, pack.Replaced[i]));
            }
        }

        return result;
    }

    /// <summary>
    /// Gets the fingerprint of the vectors of a dimension: a hash of the weights and settings that make them, the same on every
    /// machine. Stores and caches of vectors use it as the key of the model; logs and metrics show <see cref="StellaModelInfo.Name"/>.
    /// </summary>
    /// <remarks>
    /// <para>
    /// The first call hashes the files and the model keeps the hashes, so later calls take microseconds. The hashes of files come from the
    /// manifest or from the names of the blobs in a Hugging Face cache, which are taken at their word. Other files are read whole,
    /// about 1 to 2 seconds for a gigabyte. Models that were loaded from the same files share the hashes. Thread-safe: callers
    /// that ask at once wait for one computation.
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
    /// <exception cref="StellaModelFolderException">A file cannot be read, or changed since the model was loaded. The next call tries again.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public string GetFingerprint(int? dimension = null)
    {
        OptionRules.ThrowIfNotPositive(dimension, nameof(dimension));
        uint asked = (uint)(dimension ?? 0);
        ObjectDisposedException.ThrowIf(disposed, this);
        Span<byte> hash = stackalloc byte[(int)NativeMethods.STELLA_HASH_BYTES];
        using var lease = new HandleLease(handle);
        fixed (byte* pointer = hash)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_model_fingerprint((NativeModel*)lease.Value, asked, pointer, (nuint)hash.Length));
        }

        return Convert.ToHexStringLower(hash);
    }

    internal bool IsDisposed => disposed;

    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    internal void ThrowIfDisposed() => ObjectDisposedException.ThrowIf(disposed, this);

    /// <summary>Frees the model when the last running call has ended. May be called more than once, from any thread.</summary>
    public void Dispose()
    {
        disposed = true;
        sessions.Dispose();
        handle.Dispose();
    }

    /// <summary>Embeds a session's tokens in batches of at most <see cref="batchTokens"/>, in order.</summary>
    private void EmbedPack(Session session, Span<float> destination, StellaEmbedOptions options, CancelFlag cancel)
    {
        int dimension = Info.DimensionOf(options);
        TokenizedPack tokens = session.Tokens;
        for (int start = 0; start < tokens.Count;)
        {
            int end = tokens.BatchEnd(start, batchTokens);
            TokenBatch batch = tokens.Batch(start, end);
            session.Handle.Embed(
                batch,
                new NativeEmbedOptions
                {
                    size = (uint)sizeof(NativeEmbedOptions),
                    dimension = (uint)dimension,
                    raw = options.Normalize ? 0u : 1u,
                    first_text = (uint)(tokens.FirstText + start),
                },
                cancel.Span,
                destination.Slice(start * dimension, (end - start) * dimension));
            start = end;
        }
    }

    private void RunTokens(
        PlacedTokens tokens,
        ReadOnlySpan<NativeSpan> spans,
        Span<float> hidden,
        Span<float> vectors,
        StellaEmbedOptions options,
        CancellationToken cancellationToken)
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        cancellationToken.ThrowIfCancellationRequested();
        var native = new NativeEmbedOptions
        {
            size = (uint)sizeof(NativeEmbedOptions),
            dimension = (uint)Info.DimensionOf(options),
            raw = options.Normalize ? 0u : 1u,
        };
        using var lease = new SessionLease(sessions, cancellationToken);
        using var cancel = new CancelFlag(lease.Session.CancelFlag, cancellationToken);
        try
        {
            using var session = new HandleLease(lease.Session.Handle);
            fixed (uint* ids = tokens.Ids, cancelled = cancel.Span)
            fixed (NativeSpan* spansPointer = spans)
            fixed (float* hiddenPointer = hidden, vectorsPointer = vectors)
            {
                NativeErrors.ThrowIfFailed(NativeMethods.stella_session_embed_tokens(
                    (NativeSession*)session.Value,
                    ids,
                    (nuint)tokens.Ids.Length,
                    spansPointer,
                    (nuint)spans.Length,
                    &native,
                    cancelled,
                    hiddenPointer,
                    (nuint)hidden.Length,
                    vectorsPointer,
                    (nuint)vectors.Length));
            }
        }
        catch (Exception e) when (lease.Replaces(e, out Exception replacement))
        {
            throw replacement;
        }
    }

    /// <summary>The display name of a model.</summary>
    internal static string NameOf(string path, StellaModelOptions options) => Printable.Line(
        options.Name
        ?? HuggingFaceCache.NameOf(path)
        ?? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))));

    /// <summary>Returns a copy of the options, so that the caller may change its own.</summary>
    /// <exception cref="ArgumentException">The path is null or empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    private static StellaModelOptions CheckedCopy(string path, StellaModelOptions? options)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        StellaModelOptions copy = options is null ? new StellaModelOptions() : options with { };
        copy.Check();
        return copy;
    }

    private static ModelHandle Open(string path, StellaModelOptions options)
    {
        using LogSinkHandle? sink =
            options.LoggerFactory is { } factory ? NativeLog.CreateSink(factory.CreateLogger(NativeLog.Category)) : null;
        byte[] utf8 = Encoding.UTF8.GetBytes(path);
        byte[] manifest = Encoding.UTF8.GetBytes(options.ManifestPath ?? string.Empty);
        NativeModel* model;
        fixed (byte* pathPointer = utf8, manifestPointer = manifest)
        {
            NativeModelOptions native = ToNative(options, manifestPointer, manifest.Length);
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_open(
                pathPointer, (nuint)utf8.Length, &native, (NativeLogSink*)(sink?.DangerousGetHandle() ?? 0), &model));
        }

        return new ModelHandle(model);
    }

    private static NativeModelOptions ToNative(StellaModelOptions options, byte* manifest, int manifestLength) => new()
    {
        size = (uint)sizeof(NativeModelOptions),
        precision = (uint)options.Precision,
        max_tokens = (uint)(options.MaxTokens ?? 0),
        dimension = (uint)(options.Dimension ?? 0),
        load_mode = (uint)options.LoadMode,
        unchecked_weights = options.CheckWeights ? 0u : 1u,
        encoder = (uint)options.Encoder,
        manifest = manifest,
        manifest_length = (nuint)manifestLength,
    };

    /// <summary>Every index of the call must be a number that an error can name.</summary>
    internal static void ThrowIfOutOfRange(int firstTextIndex, int texts)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstTextIndex, nameof(StellaEmbedOptions.FirstTextIndex));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            firstTextIndex, int.MaxValue - texts, nameof(StellaEmbedOptions.FirstTextIndex));
    }
}
