using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using StellaInterop.Serving;
using StellaInterop.Threading;

namespace StellaInterop;

/// <summary>
/// Embeds texts for many callers at once. A pool collects texts into batches and runs them on workers that share one copy of the model.
/// It answers every call in time, with vectors, an error or a refusal.
/// </summary>
/// <remarks>
/// <para>
/// Thread-safe: one pool serves a process. The first call, or <see cref="WarmUpAsync"/>, loads the model.
/// </para>
/// <para>
/// The queue is bounded. A call that does not fit throws <see cref="StellaOverloadedException"/> at once. Bulk calls hold at most
/// their share of it (<see cref="StellaPoolOptions.BulkShare"/>), so that they never shut interactive calls out. Calls share the
/// workers fairly: they take turns of some tokens, so that a long call does not delay short ones. A text that several calls have in
/// common is computed once. A call that is cancelled or timed out is answered at that moment, whatever the workers are doing, and texts
/// that no other call wants are not computed.
/// </para>
/// <para>
/// A text that makes a batch fail is found by trying halves of the batch, so that it fails alone. A broken worker is replaced. A failed
/// load is retried in the background, first after a second, then after pauses that double up to a minute.
/// </para>
/// <para>
/// Invalid arguments and options throw at the call, before it returns its task; all other errors are in the task. The pool reads the
/// texts of a call once, before the call returns its task. Loggers, meter listeners and the clock may throw and may call the pool; one
/// that blocks delays the call or the worker that calls it.
/// </para>
/// <para>
/// A vector has the same bits whatever other texts there are and whichever worker computes it.
/// </para>
/// </remarks>
public sealed class StellaEmbeddingPool : IAsyncDisposable, IDisposable
{
    private static readonly string[] WarmUpTexts = ["warm"];

    private readonly PoolServices services;
#pragma warning disable CA2213 // PoolClosing disposes them, in its order.
    private readonly ModelHost host;
    private readonly PoolTimer maintenance;
#pragma warning restore CA2213
    private readonly OpenCalls calls;
    private readonly PoolHealth health;
    private readonly CallRunner runner;
    private readonly ModelCalls modelCalls;
    private readonly PoolClosing closing;

    /// <summary>Initializes a pool for the model in a folder, with the default options of the model. Loads nothing.</summary>
    /// <param name="path">The folder, as for <see cref="StellaModel.Load"/>.</param>
    /// <param name="options">The options of the pool; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public StellaEmbeddingPool(string path, StellaPoolOptions? options = null)
        : this(path, new StellaModelOptions(), options)
    {
    }

    /// <summary>Initializes a pool for the model in a folder. Loads nothing.</summary>
    /// <param name="path">The folder, as for <see cref="StellaModel.Load"/>.</param>
    /// <param name="modelOptions">The options of the model. <see cref="StellaModelOptions.Threads"/> are those of one worker.</param>
    /// <param name="options">The options of the pool; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is null or empty.</exception>
    /// <exception cref="ArgumentNullException"><paramref name="modelOptions"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public StellaEmbeddingPool(string path, StellaModelOptions modelOptions, StellaPoolOptions? options = null)
        : this(Checked(path, modelOptions, ref options), options)
    {
    }

    /// <summary>Initializes a pool over a loaded model. Its workers share the weights with all other users of the model.</summary>
    /// <remarks>
    /// The pool does not own the model: dispose the pool first, then the model. If the model is disposed before, its memory is freed when
    /// the last worker of the pool ends, and calls of a pool without workers end with <see cref="ObjectDisposedException"/>. The memory
    /// budget counts the workers; the model is already in memory. With <see cref="StellaPoolOptions.MinWorkers"/> 0 an idle pool ends its
    /// workers, and the model stays.
    /// </remarks>
    /// <param name="model">The model. <see cref="StellaModelOptions.Threads"/> of its options are those of one worker.</param>
    /// <param name="options">The options of the pool; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentNullException"><paramref name="model"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed.</exception>
    public StellaEmbeddingPool(StellaModel model, StellaPoolOptions? options = null)
        : this(Checked(model, ref options), options)
    {
    }

    /// <param name="source">The source of the model.</param>
    /// <param name="options">The options, those of the model included.</param>
    internal StellaEmbeddingPool(IPoolModelSource source, StellaPoolOptions options)
    {
        options = options.Copy(options.Model);
        var clock = new PoolClock(options.TimeProvider);
        var limits = new PoolLimits(options);
        StellaMemoryGovernor governor = options.Governor ?? StellaMemoryGovernor.Shared;
        services = new PoolServices(
            options,
            limits,
            clock,
            new Admission(options, limits),
            new Scheduler(clock, limits),
            new CircuitBreaker(options.CircuitBreaker, clock),
            options.MaxCacheBytes > 0 ? new ResultCache(options.MaxCacheBytes) : null,
            new PoolTelemetry(source.Name, options, clock));
        calls = new OpenCalls(source.Name, nameof(StellaEmbeddingPool));
        TimeSpan period = TimeSpan.FromTicks(Math.Clamp(
            options.IdleTimeout.Ticks / 4, TimeSpan.TicksPerMillisecond * 100, TimeSpan.TicksPerSecond * 30));
        try
        {
            host = new ModelHost(source, services, governor);
            health = new PoolHealth(services, host, calls);
            runner = new CallRunner(services, host, calls);
            modelCalls = new ModelCalls(host, calls, options.MaxQueuedCalls);
            maintenance = clock.CreateTimer(
                static state => ((StellaEmbeddingPool)state!).Maintain(), this, period, period);
            closing = new PoolClosing(calls, clock, host, maintenance, services.Telemetry);
            services.Telemetry.Publish(health.Get, governor);
        }
        catch
        {
            // The clock and the meter are the caller's code, and no caller gets the pool to dispose it.
            maintenance?.Dispose();
            host?.Dispose();
            services.Telemetry.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Gets the display name of the model in logs, metrics and errors: <see cref="StellaModelOptions.Name"/>, or the name of its
    /// repository or folder.
    /// </summary>
    public string ModelName => host.Name;

    /// <summary>
    /// Gets the properties of the model; <see langword="null"/> before the first load. The properties stay when the model is unloaded, and
    /// each load replaces them.
    /// </summary>
    public StellaModelInfo? Info => host.Info;

    /// <summary>Estimates the memory of a pool with the default options of the model, without loading it.</summary>
    /// <inheritdoc cref="EstimateMemory(string, StellaModelOptions, StellaPoolOptions?)"/>
    public static StellaMemoryEstimate EstimateMemory(string path, StellaPoolOptions? options = null) =>
        EstimateMemory(path, new StellaModelOptions(), options);

    /// <summary>Estimates the memory of a pool with all of its workers, without loading its model.</summary>
    /// <param name="path">The folder, as for <see cref="StellaModel.Load"/>.</param>
    /// <param name="modelOptions">The options of the model.</param>
    /// <param name="options">The options of the pool; <see langword="null"/> for the defaults.</param>
    /// <returns>
    /// Bytes by purpose: <see cref="StellaMemoryEstimate.SessionBytes"/> for one worker, and <see cref="StellaMemoryEstimate.TotalBytes"/>
    /// for the model with the largest number of workers. The cache of vectors, <see cref="StellaPoolOptions.MaxCacheBytes"/>, is not
    /// included.
    /// </returns>
    /// <inheritdoc cref="StellaModel.Load" path="/exception"/>
    public static StellaMemoryEstimate EstimateMemory(string path, StellaModelOptions modelOptions, StellaPoolOptions? options = null)
    {
        _ = Checked(path, modelOptions, ref options);
        return StellaModel.EstimateMemory(path, options.Model, new StellaWorkload
        {
            Sessions = options.EffectiveMaxWorkers,
            Threads = options.EffectiveThreads,
            MaxBatchTokens = options.EffectiveBatchTokens,
        });
    }

    /// <summary>Loads the model if it is not loaded, and embeds a word, so that the next call is as fast as all others.</summary>
    /// <param name="cancellationToken">A token that stops waiting; the load goes on.</param>
    /// <returns>The properties of the model.</returns>
    /// <exception cref="StellaModelFolderException">The folder or a file in it is missing, damaged or not supported.</exception>
    /// <exception cref="StellaOptionException">The model cannot meet an option, such as a dimension that it does not have.</exception>
    /// <exception cref="StellaMemoryException">The memory budget has no room for the model, or the system refused memory.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread.</exception>
    /// <exception cref="StellaException">
    /// The model could not be loaded, or failed; <see cref="StellaException.Code"/> tells how.
    /// </exception>
    /// <exception cref="StellaOverloadedException">The queue is full, and as many calls as it may hold wait for room.</exception>
    /// <exception cref="StellaCircuitOpenException">The model failed so often that calls are refused for a while.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining, or was closed before the answer.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async Task<StellaModelInfo> WarmUpAsync(CancellationToken cancellationToken = default)
    {
        var waiting = StellaCallOptions.Default with { QueueFullMode = StellaQueueFullMode.Wait, HasNoTimeout = true };
        _ = await runner.RunAsync(NewCall(WarmUpTexts, StellaEmbedOptions.Default, waiting, CallBuffers.New()), cancellationToken).ConfigureAwait(false);
        return host.Info!;
    }

    /// <summary>
    /// Returns the fingerprint of the vectors of a dimension, and loads the model if it is not loaded. The fingerprint is a hash of
    /// weights and settings that is the same on every machine; see <see cref="StellaModel.GetFingerprint"/>.
    /// </summary>
    /// <remarks>
    /// The first call for a loaded model may read all files, on a thread of its own: about 1 to 2 seconds for a gigabyte. Neither the
    /// workers nor the thread pool wait for it. Callers that ask at once share the thread. A drain waits for the answer; when the
    /// pool is disposed, callers are answered at once, and the files are read to their end before everything is freed.
    /// </remarks>
    /// <param name="dimension">One of <see cref="StellaModelInfo.Dimensions"/>; <see langword="null"/> for the model's default.</param>
    /// <param name="cancellationToken">A token that stops waiting; the computation goes on.</param>
    /// <returns>64 lower case hexadecimal digits.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="dimension"/> is below 1.</exception>
    /// <exception cref="StellaOptionException">The model has no head of this dimension.</exception>
    /// <exception cref="StellaModelFolderException">The folder or a file in it is missing, damaged or changed since the model was loaded.</exception>
    /// <exception cref="StellaException">The model could not be loaded; <see cref="StellaException.Code"/> tells why.</exception>
    /// <exception cref="StellaMemoryException">The memory budget has no room for the model.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining, or was closed before the answer.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public Task<string> GetFingerprintAsync(int? dimension = null, CancellationToken cancellationToken = default)
    {
        Guard.ThrowIfNotPositive(dimension, nameof(dimension));
        return ReadFingerprintAsync(dimension, cancellationToken);
    }

    /// <summary>Embeds one text. For texts from a stream, see <see cref="EmbedStreamAsync"/>.</summary>
    /// <remarks>The overloads for several texts also return the number of tokens and tell whether a text was truncated.</remarks>
    /// <param name="text">The text. A blank text is embedded as its special tokens.</param>
    /// <param name="options">
    /// The options of the text; <see langword="null"/> for the defaults. Set <see cref="StellaEmbedOptions.Prompt"/> to
    /// <see cref="StellaPrompt.SearchQuery"/> for a search query; a wrong prompt makes worse results without an error.
    /// </param>
    /// <param name="callOptions">
    /// The options of the call; <see langword="null"/> for the defaults. <see cref="StellaTextFailureMode.Report"/> is refused, since one
    /// vector has no place for an error.
    /// </param>
    /// <param name="cancellationToken">A token that ends the call at once.</param>
    /// <returns>The vector, of length <see cref="StellaEmbedOptions.Dimension"/> or the model's default.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public Task<float[]> EmbedAsync(
        string text,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (callOptions is { TextFailureMode: StellaTextFailureMode.Report })
        {
            throw new ArgumentException(
                $"{nameof(StellaCallOptions.TextFailureMode)} is {StellaTextFailureMode.Report}, and one vector has no place for an error. "
                + $"Use {StellaTextFailureMode.FailCall}, or embed a list.",
                nameof(callOptions));
        }

        return EmbedOneAsync(NewCall([text], options, callOptions, CallBuffers.New()), cancellationToken);
    }

    /// <summary>Embeds texts. For texts from a stream, see <see cref="EmbedStreamAsync"/>.</summary>
    /// <param name="texts">The texts, in any number. They are read before this returns, and may change afterwards.</param>
    /// <param name="options">
    /// The options of all texts; <see langword="null"/> for the defaults. Set <see cref="StellaEmbedOptions.Prompt"/> to
    /// <see cref="StellaPrompt.SearchQuery"/> for search queries; a wrong prompt makes worse results without an error.
    /// </param>
    /// <param name="callOptions">The options of the call; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that ends the call at once.</param>
    /// <returns>A list with one vector per text, in the order of the texts, and the length of each text.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    [OverloadResolutionPriority(2)] // An array is also memory, and options may be written new() { … }, null or default.
    public Task<StellaEmbeddings> EmbedAsync(
        IReadOnlyList<string> texts,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        // A copy: the caller may change the list from here on.
        return EmbedListAsync(NewCall([.. texts], options, callOptions, CallBuffers.NewWithCounts()), cancellationToken);
    }

    /// <summary>Embeds texts into a buffer of the caller.</summary>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)"/>
    [OverloadResolutionPriority(1)]
    public Task<StellaCallSummary> EmbedAsync(
        ReadOnlyMemory<string> texts,
        Memory<float> destination,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default) =>
        EmbedAsync(texts, destination, default, options, callOptions, cancellationToken);

    /// <summary>Embeds texts into a buffer of the caller and counts their tokens.</summary>
    /// <param name="texts">The texts, in any number. They are read before this returns, and may change afterwards.</param>
    /// <param name="destination">
    /// Receives one row per text, row-major <c>[texts, dimension]</c>; at least <c>texts.Length * dimension</c> long. The pool does not
    /// write to it after the end of the call. Its content is not defined when the call throws. Memory that is not an array is filled
    /// when all vectors are there.
    /// </param>
    /// <param name="tokenCounts">Receives the length of each text in tokens; at least <c>texts.Length</c> long, or empty.</param>
    /// <param name="options">The options of the texts; <see langword="null"/> for the defaults.</param>
    /// <param name="callOptions">The options of the call; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that ends the call at once.</param>
    /// <returns>The counts, times and failed texts of the call.</returns>
    /// <exception cref="ArgumentException">
    /// A buffer is too short, or a call that waits for room has no timeout. Before the first load the default dimension is not known: the
    /// error of a <paramref name="destination"/> that is too short for it is in the task then.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, too long with <see cref="StellaLongTextBehavior.Error"/>, or has no vector;
    /// <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaOverloadedException">The queue is full, and the call does not wait or too many calls wait.</exception>
    /// <exception cref="StellaTimeoutException">The call was not answered within its timeout.</exception>
    /// <exception cref="StellaCircuitOpenException">The model failed so often that calls are refused for a while.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining, or was closed before the answer.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="StellaThreadException">No worker is left, and the system refused a thread for another.</exception>
    /// <exception cref="StellaMemoryException">The model is not loaded, and the memory budget has no room for it.</exception>
    /// <exception cref="StellaException">The model could not be loaded, or failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public Task<StellaCallSummary> EmbedAsync(
        ReadOnlyMemory<string> texts,
        Memory<float> destination,
        Memory<StellaTokenCount> tokenCounts,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        Guard.ThrowIfNoRoomForCounts(texts.Length, tokenCounts.Length, nameof(tokenCounts));

        // A copy: the caller may change the memory from here on.
        PoolCall call = NewCall(texts.ToArray(), options, callOptions, CallBuffers.OfCaller(destination, tokenCounts));
        // Not by the properties of an unloaded model: the next load may find another model.
        if (call.EmbedOptions.HeadsOr(host.State.Loaded?.Model.Info.DefaultDimension ?? 0).RowLength is > 0 and int known)
        {
            Guard.ThrowIfNoRoomForVectors(texts.Length, known, destination.Length, nameof(destination));
        }

        return runner.RunAsync(call, cancellationToken);
    }

    /// <summary>Embeds a stream of texts of any length, in memory that does not grow with it.</summary>
    /// <remarks>
    /// <para>
    /// The stream is cut into calls of up to 64 texts, a few of which are computed at a time. Texts wait for room in the queue as long as
    /// necessary. A text that was read does not wait for a slow source: it is sent as soon as no other call of the stream runs.
    /// </para>
    /// <para>
    /// A cancelled token ends the stream by <see cref="OperationCanceledException"/>, and texts that were read have no embedding then. End
    /// the source to get them all. Leaving the loop waits for the calls that run and not for the source: a source that ignores its token,
    /// or blocks, is abandoned and disposed when its pending call returns. The source is read on the thread pool, and its errors end the
    /// stream after the embeddings of the texts before.
    /// </para>
    /// <para>
    /// With <see cref="StellaTextFailureMode.Report"/>, a text at fault has an <see cref="StellaTextEmbedding.Error"/> and the stream goes
    /// on; all other errors end it. A pool that drains or is disposed ends the stream.
    /// </para>
    /// <para>For a list or a lazy sequence, use <c>ToAsyncEnumerable()</c>; for the lines of a file, <c>File.ReadLinesAsync</c>.</para>
    /// </remarks>
    /// <param name="texts">The texts. They are enumerated once.</param>
    /// <param name="options">The options of all texts; <see langword="null"/> for the defaults.</param>
    /// <param name="callOptions">
    /// The options of the calls; <see langword="null"/> for the defaults. Without a priority they are <see cref="StellaPriority.Bulk"/>, and
    /// without a timeout they have none, whatever <see cref="StellaPoolOptions.DefaultTimeout"/> is. A timeout is that of each call.
    /// <see cref="StellaCallOptions.QueueFullMode"/> is not used: a stream always waits.
    /// </param>
    /// <param name="cancellationToken">A token that ends the stream.</param>
    /// <returns>One embedding per text, in the order of the texts.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is at fault, without <see cref="StellaTextFailureMode.Report"/>; <see cref="StellaInputException.TextIndex"/> is its index in the
    /// stream.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no head of the dimension of the options, or no prompt of the name.</exception>
    /// <exception cref="StellaTimeoutException">A call of the stream was not answered within its timeout.</exception>
    /// <exception cref="StellaCircuitOpenException">The model failed so often that calls are refused for a while.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining, or was closed before the end of the stream.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="StellaThreadException">No worker is left, and the system refused a thread for another.</exception>
    /// <exception cref="StellaMemoryException">The model is not loaded, and the memory budget has no room for it.</exception>
    /// <exception cref="StellaException">The model could not be loaded, or failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public IAsyncEnumerable<StellaTextEmbedding> EmbedStreamAsync(
        IAsyncEnumerable<string> texts,
        StellaEmbedOptions? options = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        StellaEmbedOptions textOptions = options ?? StellaEmbedOptions.Default;
        callOptions ??= StellaCallOptions.Default;
        StellaCallOptions partOptions = callOptions with
        {
            Priority = callOptions.Priority ?? StellaPriority.Bulk,
            QueueFullMode = StellaQueueFullMode.Wait,
            HasNoTimeout = callOptions.Timeout is null,
            IsPartOfStream = true,
        };
        // The options are checked here once, so that an error is thrown before the first text is read.
        _ = NewCall([], textOptions, partOptions, CallBuffers.NewWithCounts());
        return TextStream.EmbedAsync(texts, services.Limits.BatchTokens, EmbedPartAsync, cancellationToken);

        Task<StellaEmbeddings> EmbedPartAsync(string[] part, long first, CancellationToken token) => EmbedListAsync(
            NewCall(part, textOptions with { FirstTextIndex = (int)Math.Min(first, int.MaxValue - part.Length) }, partOptions, CallBuffers.NewWithCounts()), token);
    }

    /// <summary>Returns the state of the pool at once, also while the model is loading or all workers are busy.</summary>
    public StellaPoolHealth GetHealth() => health.Get();

    /// <summary>Tokenizes texts, as a call of this pool does, and loads the model if it is not loaded.</summary>
    /// <remarks>
    /// Runs beside the queue, on the calling thread or one that continues it. At most half as many such calls as there are processors run at
    /// once; the others wait. Thread-safe.
    /// </remarks>
    /// <param name="texts">The texts, in any number. They are read before this returns, and may change afterwards.</param>
    /// <param name="options">The options of all texts; <see langword="null"/> for the defaults. Dimension and normalization are not used.</param>
    /// <param name="cancellationToken">A token that stops the call between texts.</param>
    /// <returns>The tokens of each text, in the order of the texts.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="texts"/> is null.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    /// <exception cref="StellaInputException">
    /// A text is null, not valid Unicode, or too long with <see cref="StellaLongTextBehavior.Error"/>;
    /// <see cref="StellaInputException.TextIndex"/> is its index.
    /// </exception>
    /// <exception cref="StellaOptionException">The model has no prompt of the name.</exception>
    /// <exception cref="StellaOverloadedException">Too many calls run or wait beside the queue already.</exception>
    /// <exception cref="StellaMemoryException">The model is not loaded, and the memory budget has no room for it.</exception>
    /// <exception cref="StellaThreadException">The system refused a thread.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining, or was closed before the answer.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="StellaException">The model could not be loaded, or failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public Task<StellaTokens[]> TokenizeAsync(
        IReadOnlyList<string> texts, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        string[] copy = [.. texts];
        (options ?? StellaEmbedOptions.Default).Check(copy.Length);
        return modelCalls.RunAsync(model => model.Model.Tokenize((ReadOnlySpan<string>)copy, options, cancellationToken), cancellationToken);
    }

    /// <summary>Tokenizes one text, and finds the characters that each token comes from.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">The options of the text; <see langword="null"/> for the defaults. Dimension and normalization are not used.</param>
    /// <param name="cancellationToken">A token that stops waiting.</param>
    /// <returns>The tokens, with <see cref="StellaTokens.Offsets"/>.</returns>
    /// <exception cref="ArgumentNullException"><paramref name="text"/> is null.</exception>
    /// <inheritdoc cref="TokenizeAsync(IReadOnlyList{string}, StellaEmbedOptions?, CancellationToken)" path="/remarks"/>
    /// <inheritdoc cref="TokenizeAsync(IReadOnlyList{string}, StellaEmbedOptions?, CancellationToken)" path="/exception[not(contains(@cref, 'ArgumentNull'))]"/>
    public Task<StellaTokens> TokenizeWithOffsetsAsync(
        string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        (options ?? StellaEmbedOptions.Default).Check(1);
        return modelCalls.RunAsync(model => model.Model.TokenizeWithOffsets(text, options), cancellationToken);
    }

    /// <summary>Returns the hidden states of the tokens of one text; see <see cref="StellaModel.EmbedTokens"/>.</summary>
    /// <remarks>
    /// Runs in a session of the model, beside the queue and the workers, and blocks its thread during the forward pass. At most half as many
    /// such calls as there are processors run at once; the others wait, and calls beyond <see cref="StellaPoolOptions.MaxQueuedCalls"/> are
    /// refused. The memory budget does not count their sessions.
    /// </remarks>
    /// <param name="text">The text.</param>
    /// <param name="options">The options of the text; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>One hidden state per token, special tokens and prompt included, with the characters that the token comes from.</returns>
    /// <inheritdoc cref="TokenizeWithOffsetsAsync" path="/exception"/>
    public Task<StellaTokenEmbeddings> EmbedTokensAsync(
        string text, StellaEmbedOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        (options ?? StellaEmbedOptions.Default).Check(1);
        return modelCalls.RunAsync(model => model.Model.EmbedTokens(text, options, cancellationToken), cancellationToken);
    }

    /// <summary>Embeds parts of one text in the context of the whole text; see <see cref="StellaModel.EmbedParts"/>.</summary>
    /// <param name="text">The whole text.</param>
    /// <param name="parts">Ranges of characters (UTF-16 units) of <paramref name="text"/>; they may overlap.</param>
    /// <param name="destination">
    /// Receives one row per part, row-major <c>[parts, dimension]</c>; at least <c>parts.Length * dimension</c> long. Its content is not
    /// defined when the call throws.
    /// </param>
    /// <param name="options">The options of the text; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">A token that stops the call within milliseconds, between two layers of the encoder.</param>
    /// <returns>The number of tokens of the whole text.</returns>
    /// <exception cref="ArgumentException"><paramref name="destination"/> is too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A part ends outside the text.</exception>
    /// <inheritdoc cref="EmbedTokensAsync" path="/remarks"/>
    /// <inheritdoc cref="EmbedTokensAsync" path="/exception"/>
    public Task<StellaTokenCount> EmbedPartsAsync(
        string text,
        ReadOnlyMemory<Range> parts,
        Memory<float> destination,
        StellaEmbedOptions? options = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        (options ?? StellaEmbedOptions.Default).Check(1);
        // The call may wait, and the caller may change its ranges meanwhile.
        Range[] copy = parts.ToArray();
        return modelCalls.RunAsync(
            model => model.Model.EmbedParts(text, copy, destination.Span, options, cancellationToken), cancellationToken);
    }

    /// <summary>Stops taking calls, answers the calls that it has, and frees the model if the pool loaded it.</summary>
    /// <param name="timeout">
    /// The time to wait for the calls, 0 to 49 days. Calls without an answer then end with <see cref="StellaPoolClosedException"/>. Only
    /// the first drain sets the time.
    /// </param>
    /// <returns>
    /// A task that ends when the workers have ended and everything is freed. A worker that hangs is abandoned after another 30 seconds. The
    /// task never fails.
    /// </returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="timeout"/> is below zero or above 49 days; nothing is closed then.</exception>
    public Task DrainAsync(TimeSpan timeout)
    {
        Guard.ThrowIfNotTimer(timeout, nameof(timeout), "The time of a drain");
        return closing.DrainAsync(timeout);
    }

    /// <summary>
    /// Drains the pool for at most <see cref="StellaPoolOptions.DrainTimeout"/>, also if a drain with a longer timeout is running, and
    /// frees everything. May be called more than once, from any thread.
    /// </summary>
    public ValueTask DisposeAsync() => closing.DisposeAsync(services.Options.DrainTimeout);

    /// <summary>
    /// Ends all calls at once with <see cref="StellaPoolClosedException"/>, and waits until everything is freed. May be called more than
    /// once, at any time and from any thread; a running drain ends at once. If a logger or listener calls this on a thread of the pool, the
    /// call does not wait for that thread, which frees its resources when it ends.
    /// </summary>
    public void Dispose() => closing.Dispose();

    private static StellaModelSource Checked(
        string path, StellaModelOptions modelOptions, [NotNull] ref StellaPoolOptions? options)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(modelOptions);
        options = (options ?? new StellaPoolOptions()).Copy(modelOptions);
        return new StellaModelSource(path, options.Model);
    }

    private static LoadedModelSource Checked(StellaModel model, [NotNull] ref StellaPoolOptions? options)
    {
        ArgumentNullException.ThrowIfNull(model);
        model.ThrowIfDisposed();
        options = (options ?? new StellaPoolOptions()).Copy(model.Options);
        return new LoadedModelSource(model, options);
    }

    private async Task<string> ReadFingerprintAsync(int? dimension, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        using IDisposable lease = calls.EnterForModel();
        return await host.Fingerprint.ReadAsync(dimension, cancellationToken).ConfigureAwait(false);
    }

    private async Task<float[]> EmbedOneAsync(PoolCall call, CancellationToken cancellationToken)
    {
        _ = await runner.RunAsync(call, cancellationToken).ConfigureAwait(false);
        return call.Buffers.Vectors;
    }

    private async Task<StellaEmbeddings> EmbedListAsync(PoolCall call, CancellationToken cancellationToken)
    {
        StellaCallSummary summary = await runner.RunAsync(call, cancellationToken).ConfigureAwait(false);
        return new StellaEmbeddings(call.Buffers.Vectors, call.Buffers.RowLength, call.Buffers.TokenCounts, summary);
    }

    private PoolCall NewCall(string[] texts, StellaEmbedOptions? embedOptions, StellaCallOptions? callOptions, CallBuffers buffers)
    {
        embedOptions ??= StellaEmbedOptions.Default;
        callOptions ??= StellaCallOptions.Default;
        embedOptions.Check(texts.Length);
        callOptions.Check();
        TimeSpan? timeout = callOptions.HasNoTimeout ? null : callOptions.Timeout ?? services.Options.DefaultTimeout;
        if (callOptions.QueueFullMode == StellaQueueFullMode.Wait && timeout is null && !callOptions.HasNoTimeout)
        {
            throw new ArgumentException(
                $"A call that waits for room needs a {nameof(StellaCallOptions.Timeout)}, or the pool a {nameof(StellaPoolOptions.DefaultTimeout)}.",
                nameof(callOptions));
        }

        return new PoolCall(texts, embedOptions, callOptions, timeout, buffers) { ArrivedAt = services.Clock.Now };
    }

    private void Maintain() => services.Telemetry.Guarded(() =>
    {
        if (host.State.Loaded is { } loaded)
        {
            loaded.Workers.Shrink();
            loaded.Workers.Grow();
        }

        if (services.Options.MinWorkers == 0)
        {
            _ = host.UnloadIfIdle(services.Options.IdleTimeout);
        }
    });
}
