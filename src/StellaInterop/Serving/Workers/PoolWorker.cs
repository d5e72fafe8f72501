using System.Globalization;
using StellaInterop.Interop;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>One worker of a pool: a thread with a session, which computes batches until it is asked to stop or a batch breaks the session.</summary>
internal sealed class PoolWorker : IBatchTaker
{
    private readonly WorkerGroup group;
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

    public PoolWorker(WorkerGroup group, int number)
    {
        this.group = group;
        Number = number;
        thread = new PoolThread(string.Create(CultureInfo.InvariantCulture, $"stella worker {number}"), Run, group.ReportThreadFailed);
    }

    /// <summary>The number of the worker among those of its model, from 1. A replacement gets a new number.</summary>
    public int Number { get; }

    /// <summary>Whether its thread has ended.</summary>
    public bool HasEnded => thread.HasEnded;

    /// <summary>Whether its thread has ended or was excused, so that a close does not wait for it.</summary>
    public bool IsGone => thread.IsGone;

    public bool IsBusy => busy;

    public bool IsStopping => stopping;

    /// <summary>Whether the calling code runs on this worker's thread.</summary>
    public bool IsCurrent => thread.IsCurrent;

    /// <summary>The time at which it became idle or began its batch, by the pool's clock.</summary>
    public long Since => Volatile.Read(ref since);

    /// <summary>Starts the thread.</summary>
    /// <param name="start">Starts a thread; tests refuse it here.</param>
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

    /// <summary>The error of a worker that could not start. It is set before the thread ends.</summary>
    public Exception? StartError => started.Error;

    /// <summary>Waits until the thread has ended or was excused.</summary>
    public Task WaitGoneAsync() => thread.WaitGoneAsync();

    /// <summary>Asks the worker to end after its batch.</summary>
    public void Stop()
    {
        stopping = true;
        Wake();
    }

    /// <summary>Lets a close not wait for this worker.</summary>
    /// <returns>The thread.</returns>
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
#pragma warning disable CA1031 // Any error reaches the load that waits for the worker, or starts a successor.
        catch (Exception e)
#pragma warning restore CA1031
        {
            broken = e;
        }

        Leave(broken);
    }

    /// <summary>Takes batches from start to end, and frees session and reservation even if something fails.</summary>
    /// <returns>The error that broke the session; <see langword="null"/> if the worker was asked to stop.</returns>
    private Exception? Work()
    {
        using MemoryReservation reservation = group.ReserveSession(this);
        using IPoolSession session = group.StartSession();
        try
        {
            started.Set();
            group.ReportStarted(this);
            Exception? broken = group.TakeCheck() is { } check ? CheckModel(session, check) : null;
            return broken ?? TakeBatches(session);
        }
        finally
        {
            group.Scheduler.Leave(this);
        }
    }

    private void Leave(Exception? broken)
    {
        if (started.IsSet)
        {
            group.RemoveEnded(this, broken);
            return;
        }

        Exception error = broken ?? new StellaException(StellaErrorCode.Internal, "The worker ended before it started.");
        try
        {
            group.RemoveUnstarted(this, error);
        }
        finally
        {
            // Even if the model could not be freed.
            started.Fail(error);
            group.ReportRefused(Number, error);
        }
    }

    /// <returns>The error that broke the session; <see langword="null"/> if the worker was asked to stop.</returns>
    private Exception? TakeBatches(IPoolSession session)
    {
        while (!stopping)
        {
            if (group.Scheduler.TryTake(this) is not { } batch)
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
        Volatile.Write(ref since, group.Clock.Now);
        busy = value;
    }

    /// <summary>Computes a batch. If the search for the cause of a fault fails too, the calls of the batch end by that error.</summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? ComputeOrFail(IPoolSession session, Batch batch)
    {
        try
        {
            return Compute(session, batch);
        }
#pragma warning disable CA1031 // No call may wait for ever.
        catch (Exception e)
#pragma warning restore CA1031
        {
            foreach (PoolCall call in batch.Items.SelectMany(group.Scheduler.Finish, (_, subscriber) => subscriber.Call))
            {
                call.End(CallOutcome.Failed, e);
            }

            group.Return(batch);
            return e;
        }
    }

    /// <summary>Embeds a batch and delivers its vectors.</summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? Compute(IPoolSession session, Batch batch)
    {
        try
        {
            long begin = group.Clock.Now;
            int texts = Pack(batch);
            Span<float> vectors = rows.AsSpan(0, texts * batch.Kind.RowLength);
            var tokens = new TokenBatch(ids.AsSpan(0, batch.Tokens), cuSeqlens.AsSpan(0, texts + 1), leftOut.AsSpan(0, texts));
            session.Embed(tokens, batch.Kind, batch.CancelFlag, vectors);
            TimeSpan elapsed = group.Clock.Since(begin);
            batch.Fault?.RecordSuccess();
            bool closed = group.RecordSuccess(batch, elapsed);
            DeliverRows(batch, vectors);
            group.Return(batch);
            group.ReportForward(texts, batch.Tokens, elapsed, closed);
            return null;
        }
        catch (OperationCanceledException) when (batch.IsCancelled)
        {
            group.Return(batch);
            return null;
        }
        catch (StellaInputException e) when ((uint)e.TextIndex < (uint)batch.Items.Count)
        {
            // The forward pass names the text that has no vector: the others are computed again without it.
            TextItem faulty = batch.Items[e.TextIndex];
            batch.Fault?.RecordSuccess();
            _ = batch.Fault?.RecordFaultyText();
            Fail(faulty, e);
            group.Return(batch, [.. batch.Items.Where(item => item != faulty)]);
            return null;
        }
#pragma warning disable CA1031 // No text may be lost, and the process goes on.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return FindCause(session, batch, e);
        }
    }

    private void DeliverRows(Batch batch, ReadOnlySpan<float> vectors)
    {
        for (int i = 0; i < batch.Items.Count; i++)
        {
            TextItem item = batch.Items[i];
            ReadOnlySpan<float> row = vectors.Slice(i * batch.Kind.RowLength, batch.Kind.RowLength);
            group.Cache?.Add(item.Key, row, item.Count);
            foreach (var (call, index) in group.Scheduler.Finish(item))
            {
                call.Deliver(index, row);
            }
        }
    }

    /// <summary>
    /// Tries a failed batch again in halves, until each faulty text is alone. Only then is blame assigned: to the text, if its neighbours or
    /// a harmless text can be embedded; to the model otherwise.
    /// </summary>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? FindCause(IPoolSession session, Batch batch, Exception error)
    {
        // An error that the library names leaves the session as it was; any other may have broken it.
        Exception? broken = error is StellaException { Code: not (StellaErrorCode.Panic or StellaErrorCode.Internal) } ? null : error;
        bool isFirst = batch.Fault is null;
        FaultCase fault = batch.Fault ??= new FaultCase(error);
        if (broken is not null)
        {
            fault.RecordLostWorker();
        }

        string? opened = null;
        if (error is StellaModelFolderException)
        {
            // The head cannot be loaded: no text is at fault.
            opened = group.RecordHeadFailure(batch.Kind.Heads, error);
            batch.Items.ForEach(item => Fail(item, error));
            group.Return(batch);
        }
        else if (batch.Items.Count > 1)
        {
            int half = batch.Items.Count / 2;
            group.Return(batch, batch.Items[..half], batch.Items[half..]);
        }
        else
        {
            if (fault.RecordFaultyText())
            {
                var check = new ModelCheck(batch.Kind, error);
                if (broken is null)
                {
                    broken = CheckModel(session, check, out opened);
                }
                else
                {
                    // This session is lost, so the successor checks before it takes a batch.
                    group.CheckLater(check);
                }
            }

            Fail(batch.Items[0], error);
            group.Return(batch);
        }

        group.ReportFailed(batch.Items.Count, error, isFirst, opened);
        return broken;
    }

    private Exception? CheckModel(IPoolSession session, ModelCheck check)
    {
        Exception? broken = CheckModel(session, check, out string? opened);
        group.ReportOpened(opened);
        return broken;
    }

    /// <summary>Embeds a harmless text. If that fails too, the model is at fault, and not the text that failed before.</summary>
    /// <param name="session">The session.</param>
    /// <param name="check">The head to check, and the error of the text that failed.</param>
    /// <param name="opened">The reason for which the circuit of the head is open now; <see langword="null"/> if this check did not open it.</param>
    /// <returns>The error that broke the session, or <see langword="null"/>.</returns>
    private Exception? CheckModel(IPoolSession session, ModelCheck check, out string? opened)
    {
        opened = null;
        ReadOnlySpan<uint> text = group.HarmlessText.Span;
        Grow(ref rows, check.Kind.RowLength);
        try
        {
            var tokens = new TokenBatch(text, [0, (uint)text.Length], []);
            session.Embed(tokens, check.Kind, new uint[1], rows.AsSpan(0, check.Kind.RowLength));
            _ = group.RecordHeadSuccess(check.Kind.Heads);
            return null;
        }
#pragma warning disable CA1031 // Any error is the model's.
        catch (Exception e)
#pragma warning restore CA1031
        {
            opened = group.RecordHeadFailure(check.Kind.Heads, check.Error);
            return e is StellaException { Code: not (StellaErrorCode.Panic or StellaErrorCode.Internal) } ? null : e;
        }
    }

    private void Fail(TextItem item, Exception error)
    {
        StellaErrorCode code = (error as StellaException)?.Code ?? StellaErrorCode.Internal;
        foreach (var (call, index) in group.Scheduler.Finish(item))
        {
            // The text may have a different index in each call.
            int inList = call.EmbedOptions.FirstTextIndex + index;
            call.FailText(
                index,
                error as StellaModelFolderException
                ?? (StellaException)new StellaInputException(code, $"Text {inList} could not be embedded: {error.Message}", inList, error));
        }
    }

    /// <summary>Copies the tokens of the texts one after the other into the packed batch.</summary>
    private int Pack(Batch batch)
    {
        int texts = batch.Items.Count;
        Grow(ref ids, batch.Tokens);
        Grow(ref cuSeqlens, texts + 1);
        Grow(ref leftOut, texts);
        Grow(ref rows, texts * batch.Kind.RowLength);
        int end = 0;
        cuSeqlens[0] = 0;
        for (int i = 0; i < texts; i++)
        {
            ReadOnlySpan<uint> text = batch.Items[i].Ids.Span;
            text.CopyTo(ids.AsSpan(end));
            end += text.Length;
            cuSeqlens[i + 1] = (uint)end;
            leftOut[i] = batch.Items[i].LeftOut;
        }

        return texts;
    }

    /// <summary>
    /// Allocates on the pinned heap. Native code holds these arrays most of the time, and an array that is pinned on the ordinary heap keeps
    /// a region of up to four megabytes around it from being collected.
    /// </summary>
    private static void Grow<T>(ref T[] array, int length)
    {
        if (array.Length < length)
        {
            array = GC.AllocateUninitializedArray<T>(length, pinned: true);
        }
    }
}

/// <summary>A check whether the model can embed a harmless text, after a text failed that had no neighbours.</summary>
/// <param name="Kind">The form of the vector, with the head of the text that failed.</param>
/// <param name="Error">The error of that text.</param>
internal sealed record ModelCheck(VectorKind Kind, Exception Error);
