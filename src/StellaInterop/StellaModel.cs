using System.Text;
using Microsoft.Extensions.Logging;
using StellaInterop.Interop;

namespace StellaInterop;

/// <summary>A loaded Stella model.</summary>
/// <remarks>
/// Thread-safe: one instance serves any number of threads at once, and they share its weights. Calls compute on the
/// calling thread's behalf and return when they are done. <see cref="Dispose"/> may be called at any time, from any
/// thread and more than once: calls that are running finish, later ones throw <see cref="ObjectDisposedException"/>.
/// </remarks>
public sealed unsafe class StellaModel : IDisposable
{
    /// <summary>Tokens of one native call. Enough to keep every thread busy; more only takes memory.</summary>
    private const int BatchTokens = 16384;

    private readonly ModelHandle handle;
    private readonly SessionCache sessions;
    private readonly int batchTokens;
    private volatile bool disposed;

    private StellaModel(ModelHandle handle, string path, StellaModelOptions options)
    {
        this.handle = handle;
        Info = ReadInfo(handle, path);
        batchTokens = Math.Max(BatchTokens, Info.MaxTokens);
        sessions = new SessionCache(handle, new NativeSessionOptions
        {
            size = (uint)sizeof(NativeSessionOptions),
            threads = (uint)(options.Threads ?? 0),
            max_batch_tokens = (uint)batchTokens,
        });
    }

    /// <summary>What the model is.</summary>
    public StellaModelInfo Info { get; }

    /// <summary>Loads the model in a folder of the sentence-transformers layout.</summary>
    /// <param name="path">The folder, with <c>config.json</c>, <c>tokenizer.json</c>, <c>modules.json</c>, the weights and the heads.</param>
    /// <param name="options">How to load it; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaModelFolderException">The folder or a file in it is missing, damaged or of an unsupported kind.</exception>
    /// <exception cref="StellaTokenizerException">The tokenizer cannot be used.</exception>
    /// <exception cref="StellaOptionException">The model cannot meet an option, such as a dimension that it does not have.</exception>
    /// <exception cref="StellaNativeLibraryNotFoundException">The native library could not be loaded.</exception>
    /// <exception cref="StellaAbiMismatchException">The native library belongs to another version.</exception>
    public static StellaModel Load(string path, StellaModelOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        options ??= new StellaModelOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxTokens, 1, nameof(options.MaxTokens));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            options.MaxTokens, StellaModelOptions.MaxTokensLimit, nameof(options.MaxTokens));
        ThrowIfNotPositive(options.Dimension, nameof(options.Dimension));
        ThrowIfNotPositive(options.Threads, nameof(options.Threads));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            options.Threads ?? 1, StellaModelOptions.ThreadsLimit, nameof(options.Threads));
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

    /// <summary>Embeds one text.</summary>
    /// <param name="text">The text. A blank one embeds as its special tokens.</param>
    /// <param name="options">How to embed it; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">Stops the call before its next text.</param>
    /// <returns>The vector, of length <see cref="StellaEmbedOptions.Dimension"/> or the model's default.</returns>
    /// <exception cref="StellaInputException">The text is not valid Unicode, or too long where that is an error.</exception>
    /// <exception cref="StellaOptionException">The model has no head of the asked dimension.</exception>
    public float[] Embed(string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        float[] vector = new float[DimensionOf(options ?? StellaEmbedOptions.Default)];
        Embed([text], vector, options, cancellationToken);
        return vector;
    }

    /// <summary>Embeds texts into the caller's memory.</summary>
    /// <inheritdoc cref="Embed(ReadOnlySpan{string}, Span{float}, Span{StellaTokenCount}, StellaEmbedOptions?, CancellationToken)"/>
    public void Embed(
        ReadOnlySpan<string> texts,
        Span<float> destination,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default) =>
        Embed(texts, destination, [], options, cancellationToken);

    /// <summary>Embeds texts into the caller's memory and tells their lengths.</summary>
    /// <param name="texts">The texts, in any number; none gives nothing. A blank one embeds as its special tokens.</param>
    /// <param name="destination">
    /// Receives one row a text, row-major <c>[texts, dimension]</c>; at least <c>texts.Length * dimension</c> long. Its
    /// content is not defined when the call throws.
    /// </param>
    /// <param name="tokenCounts">Receives the length of each text in tokens; empty when that is not wanted.</param>
    /// <param name="options">How to embed them; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">Stops the call before its next text.</param>
    /// <exception cref="ArgumentException">A buffer is too short.</exception>
    /// <exception cref="StellaInputException">A text is null, not valid Unicode, or too long where that is an error; its index is given.</exception>
    /// <exception cref="StellaOptionException">The model has no head of the asked dimension.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public void Embed(
        ReadOnlySpan<string> texts,
        Span<float> destination,
        Span<StellaTokenCount> tokenCounts,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        options ??= StellaEmbedOptions.Default;
        ThrowIfOutOfRange(options.FirstTextIndex, texts.Length);
        int dimension = DimensionOf(options);
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

        using var cancel = new CancelFlag(cancellationToken);
        SessionHandle session = sessions.Take();
        bool broken = false;
        try
        {
            for (int first = 0; first < texts.Length;)
            {
                using var pack = new PackedTexts(texts[first..], options.FirstTextIndex + first);
                using var tokens = new TokenizedPack(handle, in pack, options, Info.MaxTokens);
                if (!tokenCounts.IsEmpty)
                {
                    tokens.CopyCounts(tokenCounts[first..]);
                }

                EmbedPack(session, in tokens, destination[(first * dimension)..], options, cancel);
                first += pack.Count;
            }
        }
        catch (OperationCanceledException e)
        {
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
        catch (StellaException e) when (e.Code == StellaErrorCode.Panic)
        {
            // After a panic a session refuses further calls, so the next caller gets another one.
            broken = true;
            throw;
        }
        finally
        {
            if (broken)
            {
                session.Dispose();
            }
            else
            {
                sessions.Return(session);
            }
        }
    }

    /// <summary>Tokenizes one text as <see cref="Embed(string, StellaEmbedOptions?, CancellationToken)"/> would.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">The prompt and what to do with a long text; the rest is not used.</param>
    /// <exception cref="StellaInputException">The text is not valid Unicode, or too long where that is an error.</exception>
    public StellaTokens Tokenize(string text, StellaEmbedOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Tokenize([text], options)[0];
    }

    /// <summary>Tokenizes texts as they would be embedded.</summary>
    /// <param name="texts">The texts, in any number.</param>
    /// <param name="options">The prompt and what to do with a long text; the rest is not used.</param>
    /// <exception cref="StellaInputException">A text is null, not valid Unicode, or too long where that is an error; its index is given.</exception>
    public StellaTokens[] Tokenize(ReadOnlySpan<string> texts, StellaEmbedOptions? options = null)
    {
        options ??= StellaEmbedOptions.Default;
        ThrowIfOutOfRange(options.FirstTextIndex, texts.Length);
        ObjectDisposedException.ThrowIf(disposed, this);
        var result = new StellaTokens[texts.Length];
        for (int first = 0; first < texts.Length;)
        {
            using var pack = new PackedTexts(texts[first..], options.FirstTextIndex + first);
            using var tokens = new TokenizedPack(handle, in pack, options, Info.MaxTokens);
            for (int i = 0; i < pack.Count; i++)
            {
                result[first + i] = tokens.TokensOf(i);
            }

            first += pack.Count;
        }

        return result;
    }

    /// <summary>Frees the model when the last running call has ended.</summary>
    public void Dispose()
    {
        disposed = true;
        sessions.Dispose();
        handle.Dispose();
    }

    /// <summary>Embeds tokenized texts in batches of at most <see cref="batchTokens"/>, in order.</summary>
    private void EmbedPack(
        SessionHandle session,
        ref readonly TokenizedPack tokens,
        Span<float> destination,
        StellaEmbedOptions options,
        CancelFlag cancel)
    {
        int dimension = DimensionOf(options);
        using var lease = new HandleLease(session);
        for (int start = 0; start < tokens.Count;)
        {
            int end = tokens.BatchEnd(start, batchTokens);
            TokenBatch batch = tokens.Batch(start, end);
            Span<float> rows = destination.Slice(start * dimension, (end - start) * dimension);
            var native = new NativeEmbedOptions
            {
                size = (uint)sizeof(NativeEmbedOptions),
                dimension = (uint)dimension,
                raw = options.Normalize ? 0u : 1u,
                first_text = (uint)(tokens.FirstText + start),
            };
            fixed (uint* ids = batch.Ids, cuSeqlens = batch.CuSeqlens, cancelled = cancel.Span)
            fixed (float* vectors = rows)
            {
                NativeErrors.ThrowIfFailed(NativeMethods.stella_session_embed(
                    (NativeSession*)lease.Value,
                    ids,
                    (nuint)batch.Ids.Length,
                    cuSeqlens,
                    (nuint)batch.CuSeqlens.Length,
                    &native,
                    cancelled,
                    vectors,
                    (nuint)rows.Length));
            }

            start = end;
        }
    }

    private int DimensionOf(StellaEmbedOptions options)
    {
        ThrowIfNotPositive(options.Dimension, nameof(options.Dimension));
        int dimension = options.Dimension ?? Info.DefaultDimension;
        if (!Info.Dimensions.Contains(dimension))
        {
            throw new StellaOptionException(
                StellaErrorCode.UnknownDimension,
                $"the model has no head of dimension {dimension}; its heads have {string.Join(", ", Info.Dimensions)}");
        }

        return dimension;
    }

    private static ModelHandle Open(string path, StellaModelOptions options)
    {
        var native = new NativeModelOptions
        {
            size = (uint)sizeof(NativeModelOptions),
            precision = (uint)options.Precision,
            max_tokens = (uint)options.MaxTokens,
            dimension = (uint)(options.Dimension ?? 0),
        };
        using LogSinkHandle? sink =
            options.LoggerFactory is { } factory ? NativeLog.CreateSink(factory.CreateLogger(NativeLog.Category)) : null;
        byte[] utf8 = Encoding.UTF8.GetBytes(path);
        NativeModel* model;
        fixed (byte* pathPointer = utf8)
        {
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_open(
                pathPointer, (nuint)utf8.Length, &native, (NativeLogSink*)(sink?.DangerousGetHandle() ?? 0), &model));
        }

        return new ModelHandle(model);
    }

    private static StellaModelInfo ReadInfo(ModelHandle handle, string path)
    {
        using var lease = new HandleLease(handle);
        var model = (NativeModel*)lease.Value;
        var info = new NativeModelInfo { size = (uint)sizeof(NativeModelInfo) };
        NativeErrors.ThrowIfFailed(NativeMethods.stella_model_info(model, &info));

        uint[] dimensions = new uint[info.dimension_count];
        nuint count;
        fixed (uint* pointer = dimensions)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_model_dimensions(model, pointer, (nuint)dimensions.Length, &count));
        }

        return new StellaModelInfo
        {
            Path = path,
            Architecture = (StellaArchitecture)info.architecture,
            Dimensions = Array.ConvertAll(dimensions, dimension => (int)dimension),
            DefaultDimension = (int)info.default_dimension,
            HiddenSize = (int)info.hidden_size,
            Layers = (int)info.layers,
            Heads = (int)info.heads,
            VocabularySize = (int)info.vocabulary_size,
            Parameters = (long)info.parameters,
            Precision = (StellaPrecision)info.precision,
            Device = (StellaDevice)info.device,
            MaxTokens = (int)info.max_tokens,
            MemoryEstimateBytes = (long)info.memory_estimate,
        };
    }

    /// <summary>Every index of the call must be a number that an error can name.</summary>
    private static void ThrowIfOutOfRange(int firstTextIndex, int texts)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(firstTextIndex, nameof(StellaEmbedOptions.FirstTextIndex));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(
            firstTextIndex, int.MaxValue - texts, nameof(StellaEmbedOptions.FirstTextIndex));
    }

    private static void ThrowIfNotPositive(int? value, string name)
    {
        if (value is <= 0)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} must be above zero.");
        }
    }
}
