using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace StellaInterop.Pooling;

/// <summary>Somebody who takes batches, and sleeps while there are none.</summary>
internal interface IBatchTaker
{
    /// <summary>Ends the sleep that began when <see cref="Scheduler.TryTake"/> had nothing.</summary>
    void Wake();
}

/// <summary>What waits and what runs, at one moment.</summary>
internal readonly record struct SchedulerState(
    int Calls, int WaitingCalls, long QueuedTokens, long TakenTokens, int RunningBatches, int IdleTakers);

/// <summary>
/// Decides which texts are embedded next. It has no thread and never waits: every method takes one lock for a short time,
/// so that its behaviour is that of a sequence of calls.
/// </summary>
/// <remarks>
/// The bound: every accepted call takes a part of <see cref="StellaPoolOptions.MaxQueuedTokens"/>, and is refused when that
/// is not free. A call that fits into a batch takes the tokens that it may have; a longer one takes two batches for as long
/// as it has texts that were not queued yet, and queues no more than that at a time. So what was accepted always fits.
/// </remarks>
internal sealed class Scheduler(StellaPoolOptions options)
{
    private readonly Lock gate = new();

    /// <summary>By <see cref="StellaPriority"/>. Bulk gets a seventeenth while interactive calls wait, and all when none do.</summary>
    private readonly FairQueue[] queues = [new(weight: 16), new(weight: 1)];

    private readonly Dictionary<TextKey, TextItem> inFlight = [];
    private readonly Queue<Batch> retries = [];
    private readonly List<IBatchTaker> idle = [];
    private readonly LinkedList<(PoolCall Call, long Charge, TaskCompletionSource Admitted)> waiters = [];
    private readonly long tokenLimit = options.EffectiveQueuedTokens;
    private readonly int batchTokens = options.EffectiveBatchTokens;
    private readonly TimeProvider time = options.TimeProvider;

    private readonly HashSet<PoolCall> accepted = [];
    private int runningBatches;
    private bool closed;
    private long taken;
    private long queued;
    private double tokensPerSecond;

    /// <summary>What the queue that was served last is charged.</summary>
    private double charged;

    public SchedulerState State
    {
        get
        {
            lock (gate)
            {
                return new SchedulerState(accepted.Count, waiters.Count, queued, taken, runningBatches, idle.Count);
            }
        }
    }

    /// <summary>The calls that have no answer yet.</summary>
    public IReadOnlyList<PoolCall> Calls
    {
        get
        {
            lock (gate)
            {
                return [.. accepted, .. waiters.Select(waiter => waiter.Call)];
            }
        }
    }

    /// <summary>Accepts no more calls.</summary>
    /// <returns>Those that have no answer yet.</returns>
    public IReadOnlyList<PoolCall> Close()
    {
        lock (gate)
        {
            closed = true;
        }

        return Calls;
    }

    /// <summary>Accepts a call, lets it wait for its turn to be accepted, or refuses it.</summary>
    /// <param name="call">The call.</param>
    /// <param name="tokens">
    /// The most tokens that its texts can have, or <see langword="null"/> for a call that will not queue them all at once.
    /// </param>
    /// <returns>Ends when the call is accepted, or has its answer.</returns>
    /// <exception cref="StellaOverloadedException">There is no room, and the call does not wait.</exception>
    /// <exception cref="StellaPoolClosedException">No calls are accepted any more.</exception>
    public Task AdmitAsync(PoolCall call, long? tokens)
    {
        long charge = Math.Min(tokens ?? (2L * batchTokens), 2L * batchTokens);
        lock (gate)
        {
            if (call.IsAnswered)
            {
                return Task.CompletedTask;
            }

            if (closed)
            {
                throw new StellaPoolClosedException("the pool was closed while the call arrived");
            }

            if (waiters.Count == 0 && Fits(charge))
            {
                Admit(call, charge);
                return Task.CompletedTask;
            }

            if (call.Options.WhenFull == StellaWhenFull.Reject || (waiters.Count >= options.MaxQueuedCalls && !call.Options.IsPartOfStream))
            {
                throw new StellaOverloadedException(accepted.Count + waiters.Count, options.MaxQueuedCalls, taken, tokenLimit, RetryAfter());
            }

            var admitted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            waiters.AddLast((call, charge, admitted));
            return admitted.Task;
        }
    }

    /// <summary>Ends when a call may queue <paramref name="tokens"/> more, or has its answer.</summary>
    public Task RoomAsync(PoolCall call, int tokens)
    {
        lock (gate)
        {
            if (call.IsAnswered || call.Place.QueuedTokens + tokens <= 2L * batchTokens)
            {
                return Task.CompletedTask;
            }

            call.Place.Room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return call.Place.Room.Task;
        }
    }

    /// <summary>Queues texts of an accepted call.</summary>
    /// <param name="call">The call.</param>
    /// <param name="texts">Their tokens.</param>
    /// <param name="indices">Their indices in the call.</param>
    /// <param name="isLast">Whether these are the last of the call.</param>
    public void Enqueue(PoolCall call, ReadOnlySpan<TokenizedText> texts, ReadOnlySpan<int> indices, bool isLast)
    {
        IBatchTaker? taker;
        lock (gate)
        {
            // An answered call has been removed, or will be by whoever answered it: what were queued now would stay.
            if (call.IsAnswered || !call.Place.IsAdmitted)
            {
                return;
            }

            for (int i = 0; i < texts.Length; i++)
            {
                Add(call, texts[i], indices[i]);
            }

            call.Place.IsFeeding = !isLast;
            UpdateCharge(call);
            taker = TakeIdle();
        }

        taker?.Wake();
    }

    /// <summary>
    /// The next batch, or <see langword="null"/> when there is nothing to do: the taker then counts as idle until it is woken.
    /// </summary>
    public Batch? TryTake(IBatchTaker taker)
    {
        IBatchTaker? next = null;
        Batch? batch;
        lock (gate)
        {
            batch = NextRetry() ?? Build();
            if (batch is null)
            {
                idle.Add(taker);
            }
            else
            {
                runningBatches++;
                next = queued > 0 || retries.Count > 0 ? TakeIdle() : null;
            }
        }

        next?.Wake();
        return batch;
    }

    /// <summary>Says that a taker will not come again. If it was woken in vain, another is.</summary>
    public void Leave(IBatchTaker taker)
    {
        IBatchTaker? next = null;
        lock (gate)
        {
            if (!idle.Remove(taker) && (queued > 0 || retries.Count > 0))
            {
                next = TakeIdle();
            }
        }

        next?.Wake();
    }

    /// <summary>
    /// Whether a taker is idle and nothing waits, so that it may go; it is then not idle any more.
    /// </summary>
    public bool TryRetire(IBatchTaker taker)
    {
        lock (gate)
        {
            return idle.Remove(taker);
        }
    }

    /// <summary>Says that a batch was computed in <paramref name="elapsed"/>.</summary>
    public void NoteSpeed(int tokens, TimeSpan elapsed)
    {
        double speed = tokens / Math.Max(elapsed.TotalSeconds, 1e-6);
        lock (gate)
        {
            tokensPerSecond = tokensPerSecond == 0 ? speed : (0.8 * tokensPerSecond) + (0.2 * speed);
        }
    }

    /// <summary>Takes a text out, and tells who wanted it. The text gets no more subscribers.</summary>
    public IReadOnlyList<(PoolCall Call, int Index)> Finish(TextItem item)
    {
        lock (gate)
        {
            Forget(item);
            foreach (var (call, _) in item.Subscribers)
            {
                call.Place.Running.Remove(item);
            }

            return item.Subscribers;
        }
    }

    /// <summary>Says that a taker has done with a batch, and which of its texts it could not do, to be tried again.</summary>
    public void Return(Batch batch, params ReadOnlySpan<List<TextItem>> again)
    {
        IBatchTaker? taker = null;
        lock (gate)
        {
            runningBatches--;
            foreach (List<TextItem> items in again)
            {
                var retry = new Batch(batch.Kind);
                foreach (TextItem item in items)
                {
                    if (item.State == TextState.Running && item.Subscribers.Count > 0)
                    {
                        retry.Add(item);
                    }
                    else
                    {
                        Forget(item);
                    }
                }

                if (retry.Items.Count > 0)
                {
                    retries.Enqueue(retry);
                    taker ??= TakeIdle();
                }
            }
        }

        taker?.Wake();
    }

    /// <summary>Takes a call and all that only it wanted out of the queue. Stops batches that nobody wants any more.</summary>
    public void Remove(PoolCall call)
    {
        QueuePlace place = call.Place;
        lock (gate)
        {
            foreach (TextItem item in place.Waiting)
            {
                if (item.State == TextState.Waiting && Unsubscribe(item, call))
                {
                    Forget(item);
                }
            }

            foreach (TextItem item in place.Running)
            {
                if (Unsubscribe(item, call) && item.Batch is { } batch && --batch.Wanted == 0)
                {
                    batch.Cancel();
                    batch.Items.ForEach(Forget);
                }
            }

            if (place.Turn is not null)
            {
                QueueOf(call).Remove(call);
            }

            place.Waiting.Clear();
            place.Running.Clear();
            queued -= place.QueuedTokens;
            taken -= place.Charge;
            place.QueuedTokens = 0;
            place.Charge = 0;
            place.Room?.TrySetResult();
            if (place.IsAdmitted)
            {
                place.IsAdmitted = false;
                _ = accepted.Remove(call);
            }
            else
            {
                RemoveWaiter(call);
            }

            AdmitWaiters();
        }
    }

    private bool Fits(long charge) => accepted.Count < options.MaxQueuedCalls && taken + charge <= tokenLimit;

    private void Admit(PoolCall call, long charge)
    {
        _ = accepted.Add(call);
        taken += charge;
        call.Place.Charge = charge;
        call.Place.IsAdmitted = true;
        call.Place.IsFeeding = true;
    }

    private void AdmitWaiters()
    {
        while (waiters.First is { } first && Fits(first.Value.Charge))
        {
            waiters.RemoveFirst();
            if (!first.Value.Call.IsAnswered)
            {
                Admit(first.Value.Call, first.Value.Charge);
                first.Value.Admitted.SetResult();
            }
        }
    }

    private void RemoveWaiter(PoolCall call)
    {
        for (var node = waiters.First; node is not null; node = node.Next)
        {
            if (ReferenceEquals(node.Value.Call, call))
            {
                waiters.Remove(node);
                node.Value.Admitted.SetResult();
                return;
            }
        }
    }

    private void Add(PoolCall call, TokenizedText text, int index)
    {
        var key = new TextKey(call.Texts.Span[index], call.EmbedOptions.Prompt, call.Kind);
        ref TextItem? known = ref CollectionsMarshal.GetValueRefOrAddDefault(inFlight, key, out bool exists);
        if (!exists)
        {
            known = new TextItem(key, text.Ids, text.Count);
        }

        TextItem item = known!;
        bool isNew = !item.Subscribers.Exists(subscriber => ReferenceEquals(subscriber.Call, call));
        if (item.Batch is { } batch && item.Subscribers.Count == 0)
        {
            batch.Wanted++;
        }

        item.Subscribers.Add((call, index));
        if (item.State == TextState.Running)
        {
            call.Place.Running.Add(item);
            call.Place.QueueTime ??= time.GetElapsedTime(call.ArrivedAt);
        }
        else if (isNew)
        {
            call.Place.Waiting.Enqueue(item);
            call.Place.QueuedTokens += item.Ids.Length;
            queued += item.Ids.Length;
            if (call.Place.Turn is null)
            {
                QueueOf(call).Add(call, charged);
            }
        }
    }

    private FairQueue QueueOf(PoolCall call) => queues[(int)call.Options.Priority];

    private Batch? NextRetry()
    {
        while (retries.TryDequeue(out Batch? batch))
        {
            if (batch.Wanted > 0)
            {
                return batch;
            }
        }

        return null;
    }

    /// <summary>Takes texts in fair order, of one kind, until the batch is full.</summary>
    private Batch? Build()
    {
        // What waits is shared with those who have nothing to do, but not cut so small that weights are read for a few
        // tokens.
        long share = Math.Max(queued / (idle.Count + 1), Math.Min(256, batchTokens));
        long budget = Math.Min(share, batchTokens);
        Batch? batch = null;
        while (TryPeek(batch?.Kind, out FairQueue? queue, out PoolCall? call, out TextItem? item)
            && (batch is null || batch.Tokens + item.Ids.Length <= budget))
        {
            batch ??= new Batch(call.Kind);
            queue.Charge(call, item.Ids.Length);
            charged = queue.Charged;
            Start(item, batch);
        }

        return batch;
    }

    /// <summary>The next text of a kind, or of any: that of the queue that was charged least.</summary>
    private bool TryPeek(
        VectorKind? kind,
        [NotNullWhen(true)] out FairQueue? queue,
        [NotNullWhen(true)] out PoolCall? call,
        [NotNullWhen(true)] out TextItem? item)
    {
        (queue, call, item) = (null, null, null);
        foreach (FairQueue candidate in queues)
        {
            if ((queue is null || candidate.Charged < queue.Charged) && candidate.TryPeek(kind, out PoolCall? whose, out TextItem? text))
            {
                (queue, call, item) = (candidate, whose, text);
            }
        }

        return queue is not null;
    }

    private void Start(TextItem item, Batch batch)
    {
        batch.Add(item);
        foreach (var (call, _) in item.Subscribers)
        {
            QueuePlace place = call.Place;
            if (!place.Running.Add(item))
            {
                continue;
            }

            place.QueueTime ??= time.GetElapsedTime(call.ArrivedAt);
            place.QueuedTokens -= item.Ids.Length;
            queued -= item.Ids.Length;
            UpdateCharge(call);
            if (place.QueuedTokens <= batchTokens && place.Room is { } room)
            {
                place.Room = null;
                room.SetResult();
            }
        }
    }

    /// <summary>A call that has queued all of its texts takes what still waits.</summary>
    private void UpdateCharge(PoolCall call)
    {
        QueuePlace place = call.Place;
        if (!place.IsFeeding && place.Charge != place.QueuedTokens)
        {
            taken += place.QueuedTokens - place.Charge;
            place.Charge = place.QueuedTokens;
            AdmitWaiters();
        }
    }

    /// <summary>Whether nobody wants the text any more.</summary>
    private static bool Unsubscribe(TextItem item, PoolCall call)
    {
        int left = item.Subscribers.RemoveAll(subscriber => ReferenceEquals(subscriber.Call, call));
        return left > 0 && item.Subscribers.Count == 0;
    }

    private void Forget(TextItem item)
    {
        item.State = TextState.Done;
        if (inFlight.TryGetValue(item.Key, out TextItem? known) && ReferenceEquals(known, item))
        {
            _ = inFlight.Remove(item.Key);
        }
    }

    /// <summary>The one that became idle last: its memory is still in the caches, and others stay idle long enough to go.</summary>
    private IBatchTaker? TakeIdle()
    {
        if (idle.Count == 0)
        {
            return null;
        }

        IBatchTaker taker = idle[^1];
        idle.RemoveAt(idle.Count - 1);
        return taker;
    }

    private TimeSpan RetryAfter()
    {
        double seconds = tokensPerSecond == 0 ? 1 : taken / tokensPerSecond;
        return TimeSpan.FromSeconds(Math.Clamp(seconds, 0.05, 60));
    }
}
