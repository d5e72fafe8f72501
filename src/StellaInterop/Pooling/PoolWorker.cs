using System.Globalization;

namespace StellaInterop.Pooling;

/// <summary>A thread of its own with a session of its own, which takes batches until it is told to stop or a batch breaks it.</summary>
internal sealed class PoolWorker : IBatchTaker
{
    private readonly WorkerCrew crew;
    private readonly Thread thread;
    private readonly object wake = new();
    private readonly TaskCompletionSource started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool woken;
    private volatile bool stopping;
    private long since;
    private volatile bool busy;

    private uint[] ids = [];
    private uint[] cuSeqlens = [];
    private float[] rows = [];

    public PoolWorker(WorkerCrew crew, int number)
    {
        this.crew = crew;
        Number = number;
        thread = new Thread(Run)
        {
            IsBackground = true,
            Name = string.Create(CultureInfo.InvariantCulture, $"stella worker {number}"),
        };
        since = crew.Time.GetTimestamp();
    }

    /// <summary>Counts the workers of a model; a replacement has a number of its own.</summary>
    public int Number { get; }

    /// <summary>Ends when it has what it computes with, or could not get it.</summary>
    public Task Started => started.Task;

    public bool IsBusy => busy;

    public bool IsStopping => stopping;

    /// <summary>How long it has been idle, or at its batch.</summary>
    public TimeSpan InState => crew.Time.GetElapsedTime(Volatile.Read(ref since));

    public void Start() => thread.Start();

    public void Wake()
    {
        lock (wake)
        {
            woken = true;
            Monitor.Pulse(wake);
        }
    }

    /// <summary>Asks it to end after its batch.</summary>
    public void Stop()
    {
        stopping = true;
        Wake();
    }

    /// <summary>Waits for its end.</summary>
    /// <returns>Whether it came within <paramref name="timeout"/>.</returns>
    public bool Join(TimeSpan timeout) => thread == Thread.CurrentThread || thread.Join(timeout);

    private void Run()
    {
        MemoryReservation? reservation = null;
        IPoolSession? session = null;
        Exception? broken = null;
        try
        {
            try
            {
                reservation = crew.ReserveSession(this);
                session = crew.StartSession();
            }
#pragma warning disable CA1031 // Whatever it is, it reaches those who wait for the worker.
            catch (Exception e)
#pragma warning restore CA1031
            {
                reservation?.Dispose();
                crew.FailedToStart(this, e);
                started.SetException(e);
                // Seen, whether or not somebody waits: the runtime tells the host of errors that nobody looked at.
                _ = started.Task.Exception;
                return;
            }

            crew.HasStarted(this);
            started.SetResult();
            broken = TakeBatches(session);
        }
        finally
        {
            if (session is not null)
            {
                crew.Scheduler.Leave(this);
                session.Dispose();
                reservation!.Dispose();
                crew.HasEnded(this, broken);
            }
        }
    }

    /// <returns>What broke the session, or <see langword="null"/> when it was told to stop.</returns>
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
            Exception? broken = Compute(session, batch);
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
        Volatile.Write(ref since, crew.Time.GetTimestamp());
        busy = value;
    }

    /// <summary>Embeds a batch and hands its vectors out.</summary>
    /// <returns>What broke the session, or <see langword="null"/>.</returns>
    private Exception? Compute(IPoolSession session, Batch batch)
    {
        try
        {
            long begin = crew.Time.GetTimestamp();
            int texts = Pack(batch);
            Span<float> vectors = rows.AsSpan(0, texts * batch.Kind.Dimension);
            session.Embed(ids.AsSpan(0, batch.Tokens), cuSeqlens.AsSpan(0, texts + 1), batch.Kind, batch.CancelFlag, vectors);
            crew.Succeeded(texts, batch.Tokens, crew.Time.GetElapsedTime(begin));
            HandOut(batch, vectors);
            crew.Scheduler.Return(batch);
            return null;
        }
        catch (OperationCanceledException) when (batch.IsCancelled)
        {
            crew.Scheduler.Return(batch);
            return null;
        }
        catch (StellaInputException e) when ((uint)e.TextIndex < (uint)batch.Items.Count)
        {
            // The forward went well and told which text has no vector: the others are computed again without it.
            TextItem guilty = batch.Items[e.TextIndex];
            Fail(guilty, e);
            _ = batch.Items.Remove(guilty);
            crew.Scheduler.Return(batch, batch.Items);
            return null;
        }
#pragma warning disable CA1031 // Whatever it is, nobody's text may be lost and the process lives on.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return Retry(batch, e);
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

    /// <summary>Tries a batch that failed again in halves, until the text that is at fault stands alone.</summary>
    private Exception? Retry(Batch batch, Exception error)
    {
        crew.Failed(error, batch.Items.Count);
        if (batch.Items.Count == 1)
        {
            Fail(batch.Items[0], error);
            crew.Scheduler.Return(batch);
        }
        else
        {
            int half = batch.Items.Count / 2;
            crew.Scheduler.Return(batch, batch.Items[..half], batch.Items[half..]);
        }

        // An error that the library names leaves the session as it was; anything else may have torn it.
        return error is StellaException { Code: not (StellaErrorCode.Panic or StellaErrorCode.Internal) } ? null : error;
    }

    private void Fail(TextItem item, Exception error)
    {
        StellaErrorCode code = (error as StellaException)?.Code ?? StellaErrorCode.Internal;
        foreach (var (call, index) in crew.Scheduler.Finish(item))
        {
            // Each caller has an index of its own for the text.
            int inList = call.EmbedOptions.FirstTextIndex + index;
            call.FailText(index, new StellaInputException(code, $"text {inList} could not be embedded: {error.Message}", inList, error));
        }
    }

    /// <summary>Lays the texts one after the other.</summary>
    private int Pack(Batch batch)
    {
        int texts = batch.Items.Count;
        Grow(ref ids, batch.Tokens);
        Grow(ref cuSeqlens, texts + 1);
        Grow(ref rows, texts * batch.Kind.Dimension);
        int end = 0;
        cuSeqlens[0] = 0;
        for (int i = 0; i < texts; i++)
        {
            uint[] text = batch.Items[i].Ids;
            text.CopyTo(ids, end);
            end += text.Length;
            cuSeqlens[i + 1] = (uint)end;
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
