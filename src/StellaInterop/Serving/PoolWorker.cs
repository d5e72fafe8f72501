using System.Globalization;
using StellaInterop.Interop;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>A thread of its own with a session of its own, which takes batches until it is told to stop or a batch breaks it.</summary>
internal sealed class PoolWorker : IBatchTaker
{
    private readonly WorkerGroup crew;
    private readonly PoolThread thread;
    private readonly object wake = new();
    private readonly Signal started = new();
    private bool woken;
    private volatile bool stopping;
    private long since;
    private volatile bool busy;

    private uint[] ids = [];
    private uint[] cuSeqlens = [];
    private uint[] leftOut = [];
    private float[] rows = [];

    public PoolWorker(WorkerGroup crew, int number)
    {
        this.crew = crew;
        Number = number;
        thread = new PoolThread(string.Create(CultureInfo.InvariantCulture, $"stella worker {number}"), Run, crew.ThreadFailed);
    }

    /// <summary>Counts the workers of a model; a replacement has a number of its own.</summary>
    public int Number { get; }

    /// <summary>Whether it has left for good.</summary>
    public bool HasEnded => thread.HasEnded;

    /// <summary>Whether it has left for good, or nobody is to wait for it.</summary>
    public bool IsGone => thread.IsGone;

    public bool IsBusy => busy;

    public bool IsStopping => stopping;

    /// <summary>Whether the calling code runs on this worker's thread.</summary>
    public bool IsCurrent => thread.IsCurrent;

    /// <summary>Since when it has been idle, or at its batch, by the pool's clock.</summary>
    public long Since => Volatile.Read(ref since);

    /// <summary>Starts its thread.</summary>
    /// <param name="start">Starts a thread.</param>
    /// <param name="now">The present timestamp.</param>
    /// <exception cref="StellaThreadException">The system refused the thread.</exception>
    public void Start(Action<Thread> start, long now)
    {
        since = now;
        thread.Start(start);
    }

    public void Wake()
    {
        lock (wake)
        {
            woken = true;
            Monitor.Pulse(wake);
        }
    }

    /// <summary>Waits until the worker has started or failed to.</summary>
    public Task WaitStartedAsync() => started.WaitAsync();

    /// <summary>The error of a worker that could not start, set before its thread ends.</summary>
    public Exception? StartError => started.Error;

    /// <summary>Waits until it has left for good, or nobody is to wait for it.</summary>
    public Task WaitGoneAsync() => thread.WaitGoneAsync();

    /// <summary>Asks it to end after its batch.</summary>
    public void Stop()
    {
        stopping = true;
        Wake();
    }

    /// <summary>Tells everybody not to wait for it.</summary>
    /// <returns>Its thread.</returns>
    public PoolThread Excuse()
    {
        thread.Excuse();
        return thread;
    }

    private void Run()
    {
        Exception? broken;
        try
        {
            broken = Work();
        }
#pragma warning disable CA1031 // Whatever it is, it reaches those who wait for the worker, or gets it a successor.
        catch (Exception e)
#pragma warning restore CA1031
        {
            broken = e;
        }

        Leave(broken);
    }

    /// <summary>Takes batches from its start to its end, and gives everything back, whatever fails.</summary>
    /// <returns>The error that broke the session, or <see langword="null"/> when it was told to stop.</returns>
    private Exception? Work()
    {
        using MemoryReservation reservation = crew.ReserveSession(this);
        using IPoolSession session = crew.StartSession();
        try
        {
            started.Set();
            crew.HasStarted(this);
            Exception? broken = crew.TakeCheck() is { } check ? CheckModel(session, check) : null;
            return broken ?? TakeBatches(session);
        }
        finally
        {
            crew.Scheduler.Leave(this);
        }
    }

    private void Leave(Exception? broken)
    {
        if (started.IsSet)
        {
            crew.HasEnded(this, broken);
            return;
        }

        Exception error = broken ?? new StellaException(StellaErrorCode.Internal, "The worker ended before it began.");
        crew.FailedToStart(this, error);
        started.Fail(error);
        crew.TellRefused(Number, error);
    }

    /// <returns>The error that broke the session, or <see langword="null"/> when it was told to stop.</returns>
    private Exception? TakeBatches(IPoolSession session)
    {
        while (!stopping)
        {
            if (crew.Scheduler.TryTake(this) is not { } batch)
            {
                Sleep();
                continue;
            }

            SetBusy(true);
            Exception? broken = ComputeOrFail(session, batch);
            SetBusy(false);
            if (broken is not null)
            {
                return broken;
            }
        }

        return null;
    }

    private void Sleep()
    {
        lock (wake)
        {
            while (!woken)
            {
                _ = Monitor.Wait(wake);
            }

            woken = false;
        }
    }

    private void SetBusy(bool value)
    {
        Volatile.Write(ref since, crew.Clock.Now);
        busy = value;
    }

    /// <summary>Computes a batch. Should the search for the cause of a fault fail too, the calls of the batch end with that.</summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? ComputeOrFail(IPoolSession session, Batch batch)
    {
        try
        {
            return Compute(session, batch);
        }
#pragma warning disable CA1031 // Whatever it is, nobody may wait for ever.
        catch (Exception e)
#pragma warning restore CA1031
        {
            foreach (PoolCall call in batch.Items.SelectMany(crew.Scheduler.Finish, (_, subscriber) => subscriber.Call))
            {
                call.End(CallOutcome.Failed, e);
            }

            crew.Return(batch);
            return e;
        }
    }

    /// <summary>Embeds a batch and hands its vectors out.</summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? Compute(IPoolSession session, Batch batch)
    {
        try
        {
            long begin = crew.Clock.Now;
            int texts = Pack(batch);
            Span<float> vectors = rows.AsSpan(0, texts * batch.Kind.Dimension);
            var tokens = new TokenBatch(ids.AsSpan(0, batch.Tokens), cuSeqlens.AsSpan(0, texts + 1), leftOut.AsSpan(0, texts));
            session.Embed(tokens, batch.Kind, batch.CancelFlag, vectors);
            TimeSpan elapsed = crew.Clock.Since(begin);
            batch.Fault?.NoteSuccess();
            bool closed = crew.Succeeded(batch, elapsed);
            HandOut(batch, vectors);
            crew.Return(batch);
            crew.TellForward(texts, batch.Tokens, elapsed, closed);
            return null;
        }
        catch (OperationCanceledException) when (batch.IsCancelled)
        {
            crew.Return(batch);
            return null;
        }
        catch (StellaInputException e) when ((uint)e.TextIndex < (uint)batch.Items.Count)
        {
            // The forward went well and told which text has no vector: the others are computed again without it.
            TextItem guilty = batch.Items[e.TextIndex];
            batch.Fault?.NoteSuccess();
            _ = batch.Fault?.NoteFaultyText();
            Fail(guilty, e);
            crew.Return(batch, [.. batch.Items.Where(item => item != guilty)]);
            return null;
        }
#pragma warning disable CA1031 // Whatever it is, nobody's text may be lost and the process lives on.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return FindCause(session, batch, e);
        }
    }

    private void HandOut(Batch batch, ReadOnlySpan<float> vectors)
    {
        for (int i = 0; i < batch.Items.Count; i++)
        {
            TextItem item = batch.Items[i];
            ReadOnlySpan<float> row = vectors.Slice(i * batch.Kind.Dimension, batch.Kind.Dimension);
            crew.Cache?.Add(item.Key, row, item.Count);
            foreach (var (call, index) in crew.Scheduler.Finish(item))
            {
                call.Deliver(index, row);
            }
        }
    }

    /// <summary>
    /// Tries a batch that failed again in halves, until faulty texts stand alone. Only then is blame assigned: to a text
    /// whose neighbours, or a harmless text, can be embedded; to the model otherwise.
    /// </summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? FindCause(IPoolSession session, Batch batch, Exception error)
    {
        // An error that the library names leaves the session as it was; anything else may have torn it.
        Exception? broken = error is StellaException { Code: not (StellaErrorCode.Panic or StellaErrorCode.Internal) } ? null : error;
        bool isFirst = batch.Fault is null;
        FaultCase fault = batch.Fault ??= new FaultCase(error);
        if (broken is not null)
        {
            fault.NoteLostWorker();
        }

        string? opened = null;
        if (error is StellaModelFolderException)
        {
            // The head cannot be loaded: no text has a part in that.
            opened = crew.HeadFailed(batch.Kind.Dimension, error);
            batch.Items.ForEach(item => Fail(item, error));
            crew.Return(batch);
        }
        else if (batch.Items.Count > 1)
        {
            int half = batch.Items.Count / 2;
            crew.Return(batch, batch.Items[..half], batch.Items[half..]);
        }
        else
        {
            if (fault.NoteFaultyText())
            {
                var check = new ModelCheck(batch.Kind, error);
                if (broken is null)
                {
                    broken = CheckModel(session, check, out opened);
                }
                else
                {
                    // This session is lost, so the successor checks before it takes a batch.
                    crew.CheckLater(check);
                }
            }

            Fail(batch.Items[0], error);
            crew.Return(batch);
        }

        crew.TellFailed(batch.Items.Count, error, isFirst, opened);
        return broken;
    }

    private Exception? CheckModel(IPoolSession session, ModelCheck check)
    {
        Exception? broken = CheckModel(session, check, out string? opened);
        crew.TellOpened(opened);
        return broken;
    }

    /// <summary>Embeds a harmless text. If that fails too, the model is to blame for what happened before.</summary>
    /// <param name="session">What computes it.</param>
    /// <param name="check">The question.</param>
    /// <param name="opened">Why calls are refused from now on, if this was one failure too many.</param>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? CheckModel(IPoolSession session, ModelCheck check, out string? opened)
    {
        opened = null;
        uint[] text = crew.HarmlessText;
        Grow(ref rows, check.Kind.Dimension);
        try
        {
            var tokens = new TokenBatch(text, [0, (uint)text.Length], []);
            session.Embed(tokens, check.Kind, new uint[1], rows.AsSpan(0, check.Kind.Dimension));
            _ = crew.HeadWorks(check.Kind.Dimension);
            return null;
        }
#pragma warning disable CA1031 // Whatever it is, it is the model's.
        catch (Exception e)
#pragma warning restore CA1031
        {
            opened = crew.HeadFailed(check.Kind.Dimension, check.Error);
            return e is StellaException { Code: not (StellaErrorCode.Panic or StellaErrorCode.Internal) } ? null : e;
        }
    }

    private void Fail(TextItem item, Exception error)
    {
        StellaErrorCode code = (error as StellaException)?.Code ?? StellaErrorCode.Internal;
        foreach (var (call, index) in crew.Scheduler.Finish(item))
        {
            // Each caller has an index of its own for the text.
            int inList = call.EmbedOptions.FirstTextIndex + index;
            call.FailText(
                index,
                error as StellaModelFolderException
                ?? (StellaException)new StellaInputException(code, $"text {inList} could not be embedded: {error.Message}", inList, error));
        }
    }

    /// <summary>Lays the texts one after the other.</summary>
    private int Pack(Batch batch)
    {
        int texts = batch.Items.Count;
        Grow(ref ids, batch.Tokens);
        Grow(ref cuSeqlens, texts + 1);
        Grow(ref leftOut, texts);
        Grow(ref rows, texts * batch.Kind.Dimension);
        int end = 0;
        cuSeqlens[0] = 0;
        for (int i = 0; i < texts; i++)
        {
            uint[] text = batch.Items[i].Ids;
            text.CopyTo(ids, end);
            end += text.Length;
            cuSeqlens[i + 1] = (uint)end;
            leftOut[i] = batch.Items[i].LeftOut;
        }

        return texts;
    }

    /// <summary>
    /// Native code reads and writes these arrays most of the time, and what it holds cannot be moved: among what comes and goes
    /// they would keep everything round them in memory. So they lie on the heap of what is never moved.
    /// </summary>
    private static void Grow<T>(ref T[] array, int length)
    {
        if (array.Length < length)
        {
            array = GC.AllocateUninitializedArray<T>(length, pinned: true);
        }
    }
}

/// <summary>A question to the model: can it embed a harmless text, after a text failed that had no neighbours?</summary>
/// <param name="Kind">The form of the vector: the same head as that of the text that failed.</param>
/// <param name="Error">The error of that text.</param>
internal sealed record ModelCheck(VectorKind Kind, Exception Error);
