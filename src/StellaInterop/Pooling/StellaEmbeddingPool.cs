using System.Diagnostics;
using StellaInterop.Pooling;

namespace StellaInterop;

/// <summary>
/// Embeds for many callers at once: collects their texts into batches, runs them on workers over one copy of the model, and
/// gives every caller its vectors, its error, or a refusal in time.
/// </summary>
/// <remarks>
/// <para>
/// Thread-safe: one pool serves a process. The model is loaded by the first call, or by <see cref="WarmUpAsync"/>.
/// </para>
/// <para>
/// The queue is bounded. A call that does not fit throws <see cref="StellaOverloadedException"/> at once. Calls share the
/// workers fairly: they take turns of some tokens, so that a long call does not hold up short ones. The same text in several calls is computed once. A call that was cancelled, or whose time is over, is
/// answered then, whatever the workers are doing, and what only it wanted is not computed.
/// </para>
/// <para>
/// A text that makes a batch fail is found by trying its halves, so that it fails alone. A worker that broke is replaced.
/// </para>
/// <para>
/// A vector has the same bits, whatever other texts there are, by whichever worker it was made.
/// </para>
/// </remarks>
public sealed class StellaEmbeddingPool : IAsyncDisposable, IDisposable
{
    /// <summary>Part of the queue that is taken when <see cref="GetHealth"/> calls the pool degraded.</summary>
    private const double NearlyFull = 0.9;

    private static readonly string[] WarmUpTexts = ["warm"];

    /// <summary>A forward takes seconds at most; one that takes longer hangs, or the machine is far too slow.</summary>
    private static readonly TimeSpan LongForward = TimeSpan.FromSeconds(30);

    private readonly StellaPoolOptions options;
    private readonly Scheduler scheduler;
    private readonly CircuitBreaker breaker;
    private readonly ResultCache? cache;
    private readonly PoolTelemetry telemetry;
    private readonly ModelHost host;
    private readonly CallFeeder feeder;
    private readonly CallCounter calls = new();
    private readonly ITimer maintenance;
    private readonly TaskCompletionSource hurry = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock closing = new();
    private Task? closed;

    /// <summary>Makes a pool for the model in a folder. Nothing is loaded yet.</summary>
    /// <param name="path">The folder, as for <see cref="StellaModel.Load"/>.</param>
    /// <param name="options">How it works; <see langword="null"/> for the defaults.</param>
    /// <exception cref="ArgumentException"><paramref name="path"/> is empty.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An option is outside its range.</exception>
    public StellaEmbeddingPool(string path, StellaPoolOptions? options = null)
        : this(SourceOf(path, options ??= new StellaPoolOptions()), options)
    {
    }

    internal StellaEmbeddingPool(IPoolModelSource source, StellaPoolOptions options)
    {
        options.Check();
        this.options = options;
        StellaMemoryGovernor governor = options.Governor ?? StellaMemoryGovernor.Shared;
        scheduler = new Scheduler(options);
        telemetry = new PoolTelemetry(source.Name, options, GetHealth, governor.GetStatus);
        breaker = new CircuitBreaker(options, telemetry.BreakerChanged);
        cache = options.CacheBytes > 0 ? new ResultCache(options.CacheBytes) : null;
        host = new ModelHost(source, options, governor, breaker, telemetry, (model, estimate) =>
            new WorkerCrew(model, estimate, options, scheduler, breaker, cache, governor, telemetry, Lose));
        feeder = new CallFeeder(options, scheduler, host, cache, telemetry);

        TimeSpan period = TimeSpan.FromTicks(Math.Clamp(
            options.IdleTimeout.Ticks / 4, TimeSpan.TicksPerMillisecond * 100, TimeSpan.TicksPerSecond * 30));
        maintenance = options.TimeProvider.CreateTimer(
            static state => ((StellaEmbeddingPool)state!).Maintain(), this, period, period);
    }

    /// <summary>What the model is called in logs, metrics and errors: the name of its folder.</summary>
    public string ModelName => host.Name;

    /// <summary>Length of the vectors of calls that name none; <see langword="null"/> before the model was loaded.</summary>
    public int? DefaultDimension => host.DefaultDimension;

    /// <summary>Loads the model if it is not, and embeds a word, so that the next call finds everything in place.</summary>
    /// <param name="cancellationToken">Stops waiting; the load goes on.</param>
    /// <returns>What the model is.</returns>
    /// <inheritdoc cref="StellaModel.Load" path="/exception"/>
    /// <exception cref="StellaMemoryException">There is no room for it in the memory budget.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining or disposed.</exception>
    public async Task<StellaModelInfo> WarmUpAsync(CancellationToken cancellationToken = default)
    {
        StellaModelInfo? info = null;
        PoolCall call = NewCall(WarmUpTexts, StellaEmbedOptions.Default, StellaCallOptions.Default with { WhenFull = StellaWhenFull.Wait, Timeout = PoolTimes.Longest });
        _ = await RunAsync(
            call,
            (opened, found) =>
            {
                info = found;
                opened.Open(KindOf(StellaEmbedOptions.Default, found), new float[found.DefaultDimension], default);
            },
            cancellationToken).ConfigureAwait(false);
        return info!;
    }

    /// <summary>Embeds one text.</summary>
    /// <param name="text">The text. A blank one embeds as its special tokens.</param>
    /// <param name="embedOptions">How to embed it; <see langword="null"/> for the defaults.</param>
    /// <param name="callOptions">How to treat the call; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">Takes the call back.</param>
    /// <returns>The vector.</returns>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public async Task<float[]> EmbedAsync(
        string text,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        float[] vector = [];
        PoolCall call = NewCall(new[] { text }, embedOptions, callOptions);
        _ = await RunAsync(
            call,
            (opened, info) =>
            {
                VectorKind kind = KindOf(opened.EmbedOptions, info);
                vector = new float[kind.Dimension];
                opened.Open(kind, vector, default);
            },
            cancellationToken).ConfigureAwait(false);
        return vector;
    }

    /// <summary>Embeds texts.</summary>
    /// <param name="texts">The texts, in any number; none gives none.</param>
    /// <param name="embedOptions">How to embed them; <see langword="null"/> for the defaults.</param>
    /// <param name="callOptions">How to treat the call; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">Takes the call back.</param>
    /// <returns>The vectors, in the order of the texts.</returns>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public async Task<StellaEmbeddings> EmbedAsync(
        IReadOnlyList<string> texts,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        float[] vectors = [];
        int dimension = 0;
        var counts = new StellaTokenCount[texts.Count];
        PoolCall call = NewCall(texts as string[] ?? [.. texts], embedOptions, callOptions);
        StellaCallSummary summary = await RunAsync(
            call,
            (opened, info) =>
            {
                VectorKind kind = KindOf(opened.EmbedOptions, info);
                dimension = kind.Dimension;
                vectors = GC.AllocateUninitializedArray<float>(checked(counts.Length * dimension));
                opened.Open(kind, vectors, counts);
            },
            cancellationToken).ConfigureAwait(false);
        return new StellaEmbeddings(vectors, dimension, counts, summary);
    }

    /// <summary>Embeds texts into the caller's memory.</summary>
    /// <param name="texts">The texts, in any number. They are not copied: leave them as they are until the call ends.</param>
    /// <param name="destination">
    /// Receives one row a text, row-major <c>[texts, dimension]</c>; at least <c>texts.Length * dimension</c> long. It is
    /// not written to after the call ended. Its content is not defined when the call throws.
    /// </param>
    /// <param name="tokenCounts">Receives the length of each text in tokens; empty when that is not wanted.</param>
    /// <param name="embedOptions">How to embed them; <see langword="null"/> for the defaults.</param>
    /// <param name="callOptions">How to treat the call; <see langword="null"/> for the defaults.</param>
    /// <param name="cancellationToken">Takes the call back.</param>
    /// <returns>What the call came to.</returns>
    /// <exception cref="ArgumentException">A buffer is too short, or a call that waits for room has no timeout.</exception>
    /// <exception cref="StellaInputException">A text is null, not valid Unicode, too long where that is an error, or has no vector; its index is given.</exception>
    /// <exception cref="StellaOptionException">The model has no head of the asked dimension.</exception>
    /// <exception cref="StellaOverloadedException">The queue is full.</exception>
    /// <exception cref="StellaTimeoutException">The call was not answered in its time.</exception>
    /// <exception cref="StellaCircuitOpenException">The model failed so often that calls are refused for a while.</exception>
    /// <exception cref="StellaPoolClosedException">The pool is draining or disposed.</exception>
    /// <exception cref="StellaMemoryException">The model is not loaded, and there is no room for it in the memory budget.</exception>
    /// <exception cref="StellaException">The model could not be loaded, or failed; <see cref="StellaException.Code"/> says how.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Task<StellaCallSummary> EmbedAsync(
        ReadOnlyMemory<string> texts,
        Memory<float> destination,
        Memory<StellaTokenCount> tokenCounts = default,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        if (!tokenCounts.IsEmpty && tokenCounts.Length < texts.Length)
        {
            throw new ArgumentException(
                $"{texts.Length} texts need as many counts; there is room for {tokenCounts.Length}.", nameof(tokenCounts));
        }

        return RunAsync(
            NewCall(texts, embedOptions, callOptions),
            (opened, info) =>
            {
                VectorKind kind = KindOf(opened.EmbedOptions, info);
                if (destination.Length / kind.Dimension < texts.Length)
                {
                    throw new ArgumentException(
                        $"{texts.Length} vectors of {kind.Dimension} need {(long)texts.Length * kind.Dimension} numbers; there is room for {destination.Length}.",
                        nameof(destination));
                }

                opened.Open(kind, destination, tokenCounts);
            },
            cancellationToken);
    }

    /// <summary>Embeds a stream of texts of any length in memory that does not grow with it.</summary>
    /// <remarks>
    /// A few hundred texts are read ahead of the one whose vector is given. They wait for room in the queue as long as it
    /// takes.
    /// </remarks>
    /// <param name="texts">The texts.</param>
    /// <param name="embedOptions">
    /// How to embed them; <see langword="null"/> for the defaults. <see cref="StellaEmbedOptions.FirstTextIndex"/> is not used.
    /// </param>
    /// <param name="callOptions">
    /// How to treat the texts; <see langword="null"/> for bulk without a timeout. A timeout is that of a part of the stream.
    /// </param>
    /// <param name="cancellationToken">Ends the stream.</param>
    /// <returns>A vector for each text, in the order of the texts.</returns>
    /// <inheritdoc cref="EmbedAsync(ReadOnlyMemory{string}, Memory{float}, Memory{StellaTokenCount}, StellaEmbedOptions?, StellaCallOptions?, CancellationToken)" path="/exception"/>
    public IAsyncEnumerable<StellaEmbedding> EmbedStreamAsync(
        IAsyncEnumerable<string> texts,
        StellaEmbedOptions? embedOptions = null,
        StellaCallOptions? callOptions = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        callOptions ??= new StellaCallOptions { Priority = StellaPriority.Bulk };
        return TextStream.EmbedAsync(
            texts, options.EffectiveBatchTokens, EmbedPartAsync, cancellationToken);

        Task<StellaEmbeddings> EmbedPartAsync(string[] part, long first, CancellationToken token) => EmbedAsync(
            part,
            (embedOptions ?? StellaEmbedOptions.Default) with { FirstTextIndex = (int)Math.Min(first, int.MaxValue - part.Length) },
            callOptions with { WhenFull = StellaWhenFull.Wait, Timeout = callOptions.Timeout ?? PoolTimes.Longest, IsPartOfStream = true },
            token);
    }

    /// <summary>How the pool is. Never waits, so that it tells the truth while everything else does.</summary>
    public StellaPoolHealth GetHealth()
    {
        SchedulerState queue = scheduler.State;
        var (model, loaded, loadError) = host.State;
        var (workers, busy, longest, refused) = loaded?.Crew.State ?? default;
        var (breakerState, breakerReason) = breaker.State;
        double fill = Math.Max(
            (queue.Calls + queue.WaitingCalls) / (double)options.MaxQueuedCalls,
            queue.TakenTokens / (double)options.EffectiveQueuedTokens);

        var (status, reason) = Judge();
        return new StellaPoolHealth
        {
            Status = status,
            Reason = reason,
            Model = calls.IsClosed ? StellaPoolModelState.Closed : model,
            Workers = workers,
            BusyWorkers = busy,
            QueuedCalls = queue.Calls + queue.WaitingCalls,
            QueuedTokens = queue.QueuedTokens,
            QueueFill = Math.Min(fill, 1),
            LongestForward = longest,
            CacheBytes = cache?.Bytes ?? 0,
            LastLoadError = loadError,
        };

        // What is worst comes first.
        (StellaPoolStatus Status, string Reason) Judge() => (breakerState, model) switch
        {
            _ when calls.IsClosed => (StellaPoolStatus.Unhealthy, "the pool is draining or disposed"),
            (BreakerState.Open, _) => (StellaPoolStatus.Unhealthy, breakerReason),
            (_, not StellaPoolModelState.Loaded) when loadError is not null =>
                (StellaPoolStatus.Unhealthy, $"the model could not be loaded: {loadError.Message}"),
            (BreakerState.HalfOpen, _) =>
                (StellaPoolStatus.Degraded, $"calls are let through to see whether the model works again: {breakerReason}"),
            _ when longest > LongForward => (StellaPoolStatus.Degraded, $"a batch has been running for {longest.TotalSeconds:0} s"),
            _ when queue.WaitingCalls > 0 || fill >= NearlyFull => (StellaPoolStatus.Degraded, "the queue is full or nearly so"),
            _ when refused => (StellaPoolStatus.Degraded, "a worker could not be started; the log says why"),
            (_, StellaPoolModelState.Unloaded) => (StellaPoolStatus.Healthy, "the next call loads the model"),
            (_, StellaPoolModelState.Loading) => (StellaPoolStatus.Healthy, "the model is being loaded"),
            _ => (StellaPoolStatus.Healthy, "calls are answered"),
        };
    }

    /// <summary>Takes no more calls, answers those it has, and frees the model.</summary>
    /// <param name="timeout">
    /// How long it waits for the calls. Those that are left then end with <see cref="StellaPoolClosedException"/>.
    /// </param>
    /// <returns>Ends when the workers have ended and everything is freed.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="timeout"/> is below zero.</exception>
    public Task DrainAsync(TimeSpan timeout)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(timeout, TimeSpan.Zero);
        lock (closing)
        {
            // On the thread pool: the caller may hold locks that those who are answered want.
            return closed ??= Task.Run(() => CloseAsync(timeout));
        }
    }

    /// <summary>Drains for <see cref="StellaPoolOptions.DrainTimeout"/>. May be called more than once, from any thread.</summary>
    public async ValueTask DisposeAsync()
    {
        await DrainAsync(options.DrainTimeout).ConfigureAwait(false);
        Dispose();
    }

    /// <summary>
    /// Ends all calls at once with <see cref="StellaPoolClosedException"/>, and waits until the workers have ended. May be
    /// called more than once, from any thread; a drain that is going on is cut short.
    /// </summary>
    public void Dispose()
    {
        _ = hurry.TrySetResult();
        DrainAsync(TimeSpan.Zero).GetAwaiter().GetResult();
        maintenance.Dispose();
        feeder.Dispose();
        host.Dispose();
        telemetry.Dispose();
    }

    private static StellaModelSource SourceOf(string path, StellaPoolOptions options)
    {
        StellaModel.Check(path, options.Model);
        return new StellaModelSource(path, options.Model);
    }

    private static VectorKind KindOf(StellaEmbedOptions embedOptions, StellaModelInfo info) =>
        new(info.DimensionOf(embedOptions), embedOptions.Normalize);

    private PoolCall NewCall(ReadOnlyMemory<string> texts, StellaEmbedOptions? embedOptions, StellaCallOptions? callOptions)
    {
        embedOptions ??= StellaEmbedOptions.Default;
        callOptions ??= StellaCallOptions.Default;
        StellaModel.ThrowIfOutOfRange(embedOptions.FirstTextIndex, texts.Length);
        PoolTimes.ThrowIfNotPositive(callOptions.Timeout, nameof(StellaCallOptions.Timeout));
        TimeSpan? timeout = callOptions.Timeout ?? options.DefaultTimeout;
        if (callOptions.WhenFull == StellaWhenFull.Wait && timeout is null)
        {
            throw new ArgumentException(
                $"a call that waits for room needs a {nameof(StellaCallOptions.Timeout)}, or the pool a {nameof(StellaPoolOptions.DefaultTimeout)}.",
                nameof(callOptions));
        }

        return new PoolCall(texts, embedOptions, callOptions, timeout)
        {
            ArrivedAt = options.TimeProvider.GetTimestamp(),
            Ended = Ended,
        };
    }

    /// <summary>Runs a call from its arrival to its answer.</summary>
    private async Task<StellaCallSummary> RunAsync(
        PoolCall call, Action<PoolCall, StellaModelInfo> open, CancellationToken cancellationToken)
    {
        Activity? activity = telemetry.Begin(call.Texts.Length, call.Options);
        StellaCallSummary? summary = null;
        Exception? error = null;
        try
        {
            Enter(call);
            using CancellationTokenRegistration registration = cancellationToken.UnsafeRegister(
                static (state, token) => ((PoolCall)state!).End(CallOutcome.Cancelled, new OperationCanceledException(token)), call);
            using ITimer? timer = call.Timeout is { } timeout
                ? options.TimeProvider.CreateTimer(static state => ((PoolCall)state!).TimeOut(), call, timeout, Timeout.InfiniteTimeSpan)
                : null;
            if (call.Texts.IsEmpty)
            {
                call.CompleteEmpty();
            }
            else if (!call.IsAnswered)
            {
                _ = feeder.FeedAsync(call, open);
            }

            summary = await call.Task.ConfigureAwait(false);
            return summary;
        }
        catch (Exception e)
        {
            // A token or a clock that throws: the call was counted, so it has to end.
            call.End(CallOutcome.Failed, e);
            error = e;
            throw;
        }
        finally
        {
            telemetry.End(activity, call, summary, error);
        }
    }

    private void Enter(PoolCall call)
    {
        call.IsCounted = calls.TryEnter();
        if (!call.IsCounted)
        {
            call.End(CallOutcome.Rejected, new StellaPoolClosedException($"the pool of {telemetry.ModelName} is draining or disposed"));
            return;
        }

        try
        {
            call.IsProbe = breaker.Enter();
        }
        catch (StellaCircuitOpenException e)
        {
            call.End(CallOutcome.Rejected, e);
        }
    }

    /// <summary>A call has its answer, and is about to hear it.</summary>
    private void Ended(PoolCall call, CallOutcome outcome, Exception? error)
    {
        scheduler.Remove(call);
        if (call.IsProbe)
        {
            breaker.ProbeEnded();
        }

        if (call.HoldsModel)
        {
            host.Release();
        }

        telemetry.Ended(call, outcome, error);
        if (call.IsCounted)
        {
            calls.Leave();
        }
    }

    /// <summary>No worker is left, and none can be started: nobody would answer those who wait.</summary>
    private void Lose(WorkerCrew crew, Exception error)
    {
        host.Abandon(crew);
        foreach (PoolCall call in scheduler.Calls)
        {
            call.End(CallOutcome.Failed, error);
        }
    }

    private void Maintain()
    {
        if (host.State.Loaded is { } loaded)
        {
            loaded.Crew.Shrink();
            loaded.Crew.Grow();
        }

        if (options.MinWorkers == 0)
        {
            _ = host.UnloadIfIdle(options.IdleTimeout);
        }
    }

    private async Task CloseAsync(TimeSpan timeout)
    {
        Task drained = calls.Close();
        telemetry.Draining(calls.Count);
        Task inTime = drained.WaitAsync(timeout, options.TimeProvider);
        _ = await Task.WhenAny(inTime, hurry.Task).ConfigureAwait(false);
        if (!drained.IsCompleted)
        {
            var end = new StellaPoolClosedException(
                $"the pool of {telemetry.ModelName} was closed before the call was answered");
            foreach (PoolCall call in scheduler.Close())
            {
                call.End(CallOutcome.Cancelled, end);
            }

            await drained.ConfigureAwait(false);
        }

        await inTime.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await maintenance.DisposeAsync().ConfigureAwait(false);
        await host.CloseAsync().ConfigureAwait(false);
        telemetry.Closed();
    }
}
