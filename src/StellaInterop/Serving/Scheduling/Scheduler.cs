using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>A worker, as the scheduler sees it: it takes batches, and sleeps if the queue is empty.</summary>
internal interface IBatchTaker
{
    /// <summary>Ends the sleep that began when <see cref="Scheduler.TryTake"/> returned no batch.</summary>
    void Wake();
}

/// <summary>The queued tokens, the running batches and the idle takers, at one moment.</summary>
internal readonly record struct SchedulerState(long QueuedTokens, int RunningBatches, int IdleTakers);

/// <summary>
/// Decides which texts of the accepted calls are embedded next. It has no thread and never waits: every method takes one lock for a short
/// time, so that its behaviour is that of a sequence of calls.
/// </summary>
/// <remarks>
/// The estimate by which a call was accepted (<see cref="Admission"/>) may be too low. So the tokens that really wait have the same limit,
/// <see cref="StellaPoolOptions.MaxQueuedTokens"/>: a part of a call that does not fit is kept until it does. Workers always take waiting
/// texts, so room for the next part always comes. Bulk calls hold at most their share, and the first bulk part that waits has the first
/// claim on room within that share.
/// </remarks>
internal sealed class Scheduler
{
    /// <summary>The largest size of the vectors of one batch in bytes, so that a worker keeps little memory for them.</summary>
    private const int MaxRowBytes = 1 << 20;

    /// <summary>The smallest batch in tokens that the queue is cut into for idle takers: the weights are read once per batch.</summary>
    private const int MinSharedTokens = 256;

    private readonly RankedLock gate = new(LockRank.Queue);
    private readonly TextLane interactive;
    private readonly TextLane bulk;

    /// <summary>By <see cref="StellaPriority"/>.</summary>
    private readonly TextLane[] lanes;

    /// <summary>The order in which parts get room. Interactive parts keep out of the claim of bulk anyway.</summary>
    private readonly TextLane[] bulkFirst;

    private readonly Dictionary<TextKey, TextItem> inFlight = [];
    private readonly Queue<Batch> retries = [];
    private readonly List<IBatchTaker> idle = [];
    private readonly PoolLimits limits;
    private readonly PoolClock clock;

    private int runningBatches;
    private long queued;

    /// <summary>The charge of the lane that was served last.</summary>
    private double charged;

    public Scheduler(PoolClock clock, PoolLimits limits)
    {
        this.clock = clock;
        this.limits = limits;
        // Interactive texts get sixteen seventeenths of the tokens while both wait.
        interactive = new TextLane(weight: 16, () => limits.QueuedTokens);
        bulk = new TextLane(weight: 1, () => limits.BulkTokens);
        lanes = [interactive, bulk];
        bulkFirst = [bulk, interactive];
    }

    public SchedulerState State
    {
        get
        {
            using (gate.Enter())
            {
                return new SchedulerState(queued, runningBatches, idle.Count);
            }
        }
    }

    /// <summary>Opens the queue for the texts of an accepted call.</summary>
    /// <param name="call">The call.</param>
    /// <param name="slot">The call's reservation, which shrinks as its last texts leave the queue.</param>
    /// <returns>Dispose it when the call ends: texts that only this call wants leave the queue, and batches that no call wants are stopped.</returns>
    public IDisposable Open(PoolCall call, AdmissionSlot slot)
    {
        using (gate.Enter())
        {
            call.Entry.Slot = slot;
            call.Entry.IsFeeding = true;
        }

        return new Lease(this, call);
    }

    /// <summary>Queues texts of a call as soon as there is room for them. A call has one part on its way at a time.</summary>
    /// <param name="call">The call.</param>
    /// <param name="texts">The texts: together at most a batch, or one text.</param>
    /// <param name="order">Whether more texts of the call follow.</param>
    /// <returns>A task that ends when the texts wait in the queue, or the call has its answer.</returns>
    public Task EnqueueAsync(PoolCall call, ReadOnlyMemory<QueuedText> texts, PartOrder order)
    {
        IBatchTaker? taker;
        Task partQueued = Task.CompletedTask;
        using (gate.Enter())
        {
            // An answered call has left the queue, or will leave it on the thread that answered it: texts queued now would stay.
            if (call.IsAnswered || call.Entry.Slot is null)
            {
                return Task.CompletedTask;
            }

            long tokens = 0;
            foreach (QueuedText text in texts.Span)
            {
                tokens += text.Tokens.Ids.Length;
            }

            TextLane lane = LaneOf(call);
            call.Entry.Part = new QueuedPart(texts, tokens, order);
            LinkedListNode<PoolCall> node = lane.Parts.AddLast(call);
            taker = Refill();
            if (node.List is not null)
            {
                var signal = new Signal();
                call.Entry.PartQueued = signal;
                partQueued = signal.WaitAsync();
            }
        }

        taker?.Wake();
        return partQueued;
    }

    /// <summary>
    /// Returns the next batch, or <see langword="null"/> if no text waits: the taker then counts as idle until it is woken.
    /// </summary>
    public Batch? TryTake(IBatchTaker taker)
    {
        long now = clock.Now;
        IBatchTaker? next = null;
        Batch? batch;
        using (gate.Enter())
        {
            batch = NextRetry() ?? Build(now);
            if (batch is null)
            {
                idle.Add(taker);
            }
            else
            {
                runningBatches++;
                next = Refill();
            }
        }

        next?.Wake();
        return batch;
    }

    /// <summary>Removes a taker that will not come again. If it was woken for work, another one is woken.</summary>
    public void Leave(IBatchTaker taker)
    {
        IBatchTaker? next = null;
        using (gate.Enter())
        {
            if (!idle.Remove(taker))
            {
                next = TakeIdleIfWorkWaits();
            }
        }

        next?.Wake();
    }

    /// <summary>Retires a taker if it is idle. It is not woken for work any more.</summary>
    /// <returns>Whether the taker was idle.</returns>
    public bool TryRetire(IBatchTaker taker)
    {
        using (gate.Enter())
        {
            return idle.Remove(taker);
        }
    }

    /// <summary>Removes a text that was computed or failed, so that it gets no more subscribers.</summary>
    /// <returns>The calls that want the text, and its index in each.</returns>
    public IReadOnlyList<(PoolCall Call, int Index)> Finish(TextItem item)
    {
        using (gate.Enter())
        {
            Forget(item);
            foreach (var (call, _) in item.Subscribers)
            {
                call.Entry.Running.Remove(item);
            }

            return item.Subscribers;
        }
    }

    /// <summary>Ends a batch of a taker.</summary>
    /// <param name="batch">The batch.</param>
    /// <param name="again">Texts of the batch to try again. Each list becomes a batch.</param>
    /// <returns>The fault of the batch, if this was the last batch of the search for its cause.</returns>
    public FaultCase? Return(Batch batch, params ReadOnlySpan<List<TextItem>> again)
    {
        IBatchTaker? taker = null;
        FaultCase? closedCase = null;
        using (gate.Enter())
        {
            runningBatches--;
            foreach (List<TextItem> items in again)
            {
                var retry = new Batch(batch.Kind) { Fault = batch.Fault, IsOpen = batch.Fault is not null, StartedAt = batch.StartedAt };
                foreach (TextItem item in items)
                {
                    if (item.State == TextState.Running && item.Subscribers.Count > 0)
                    {
                        retry.Add(item);
                    }
                    else
                    {
                        Forget(item);
                        batch.Fault?.RecordUntried();
                    }
                }

                if (retry.Items.Count > 0)
                {
                    retries.Enqueue(retry);
                    taker ??= TakeIdle();
                    if (retry.Fault is not null)
                    {
                        retry.Fault.OpenBatches++;
                    }
                }
            }

            if (batch.IsCancelled)
            {
                batch.Fault?.RecordUntried();
            }

            if (batch.Fault is { } fault)
            {
                // The batch that failed first was never counted; the batches of the search were.
                fault.OpenBatches -= batch.IsOpen ? 1 : 0;
                closedCase = fault.OpenBatches == 0 ? fault : null;
            }
        }

        taker?.Wake();
        return closedCase;
    }

    /// <summary>Removes a call and the texts that only it wants. Stops batches that no call wants any more.</summary>
    private void Remove(PoolCall call)
    {
        QueueEntry entry = call.Entry;
        IBatchTaker? taker;
        using (gate.Enter())
        {
            foreach (TextItem item in entry.Waiting)
            {
                if (item.State == TextState.Waiting && Unsubscribe(item, call))
                {
                    Forget(item);
                }
            }

            foreach (TextItem item in entry.Running)
            {
                if (Unsubscribe(item, call) && item.Batch is { } batch && --batch.Wanted == 0)
                {
                    batch.Cancel();
                    batch.Items.ForEach(Forget);
                }
            }

            TextLane lane = LaneOf(call);
            if (entry.Turn is not null)
            {
                lane.Queue.Remove(call);
            }

            if (entry.Part is not null)
            {
                entry.Part = null;
                _ = lane.Parts.Remove(call);
            }

            entry.Waiting.Clear();
            entry.Running.Clear();
            AddQueued(call, -entry.QueuedTokens);
            entry.Slot = null;
            entry.PartQueued?.Set();
            taker = Refill();
        }

        taker?.Wake();
    }

    private TextLane LaneOf(PoolCall call) => lanes[(int)call.Priority];

    /// <summary>Queues the parts that there is room for: first bulk parts within the share of bulk, then interactive parts.</summary>
    /// <returns>An idle taker to wake, if texts wait.</returns>
    private IBatchTaker? Refill()
    {
        foreach (TextLane lane in bulkFirst)
        {
            long claim = lane == interactive ? PartClaim() : 0;
            for (LinkedListNode<PoolCall>? node = lane.Parts.First, next; node is not null; node = next)
            {
                next = node.Next;
                QueueEntry entry = node.Value.Entry;
                QueuedPart part = entry.Part!;
                if (!HasOwnRoom(entry, part))
                {
                    continue;
                }

                if (lane.Queued + part.Tokens > lane.TokenLimit || queued + part.Tokens + claim > limits.QueuedTokens)
                {
                    break;
                }

                lane.Parts.Remove(node);
                AddPart(node.Value, part);
            }
        }

        return TakeIdleIfWorkWaits();
    }

    /// <summary>Returns the tokens of the first bulk part that fits into the share of bulk and not into the whole queue.</summary>
    private long PartClaim()
    {
        foreach (PoolCall call in bulk.Parts)
        {
            if (HasOwnRoom(call.Entry, call.Entry.Part!))
            {
                return bulk.Queued + call.Entry.Part!.Tokens <= bulk.TokenLimit ? call.Entry.Part.Tokens : 0;
            }
        }

        return 0;
    }

    /// <summary>Whether the call itself may add a part. It keeps at most two batches in the queue; a call without queued texts can always add one.</summary>
    private bool HasOwnRoom(QueueEntry entry, QueuedPart part) =>
        entry.QueuedTokens == 0 || entry.QueuedTokens + part.Tokens <= 2L * limits.BatchTokens;

    private void AddPart(PoolCall call, QueuedPart part)
    {
        QueueEntry entry = call.Entry;
        foreach (QueuedText text in part.Texts.Span)
        {
            Add(call, text);
        }

        entry.Part = null;
        entry.IsFeeding = part.Order == PartOrder.MoreFollow;
        ShrinkReservation(call);
        entry.PartQueued?.Set();
        entry.PartQueued = null;
    }

    private void Add(PoolCall call, QueuedText text)
    {
        ref TextItem? known = ref CollectionsMarshal.GetValueRefOrAddDefault(inFlight, text.Key, out bool exists);
        if (!exists)
        {
            known = new TextItem(text.Key, text.Tokens);
        }

        TextItem item = known!;
        bool isNew = !item.Subscribers.Exists(subscriber => ReferenceEquals(subscriber.Call, call));
        if (item.Batch is { } batch && item.Subscribers.Count == 0)
        {
            batch.Wanted++;
        }

        item.Subscribers.Add((call, text.Index));
        if (item.State == TextState.Running)
        {
            call.Entry.Running.Add(item);
            call.Entry.StartedAt ??= item.Batch!.StartedAt;
        }
        else if (isNew)
        {
            call.Entry.Waiting.Enqueue(item);
            AddQueued(call, item.Ids.Length);
            if (call.Entry.Turn is null)
            {
                LaneOf(call).Queue.Add(call, charged);
            }
        }
    }

    private Batch? NextRetry()
    {
        while (retries.TryDequeue(out Batch? batch))
        {
            if (batch.Wanted > 0)
            {
                return batch;
            }

            // No call wants its texts any more, so none of them can be blamed either.
            if (batch.Fault is not null)
            {
                batch.Fault.RecordUntried();
                batch.Fault.OpenBatches--;
            }
        }

        return null;
    }

    /// <summary>Makes a batch of texts of one kind, in fair order, until it is full.</summary>
    private Batch? Build(long now)
    {
        // Idle takers get their share of the queue.
        long share = Math.Max(queued / (idle.Count + 1), Math.Min(MinSharedTokens, limits.BatchTokens));
        long budget = Math.Min(share, limits.BatchTokens);
        bool hasInteractive = false;
        Batch? batch = null;
        while (TryPeek(batch?.Kind, out TextLane? lane, out PoolCall? call, out TextItem? item)
            && (batch is null || (batch.Tokens + item.Ids.Length <= budget && batch.Items.Count < MostTexts(batch.Kind))))
        {
            // Callers wait for the interactive texts, and no more of them are queued: bulk texts would only delay the batch.
            if (hasInteractive && lane == bulk && !interactive.Queue.TryPeek(batch!.Kind, out _, out _))
            {
                break;
            }

            hasInteractive |= lane == interactive;
            batch ??= new Batch(call.Kind) { StartedAt = now };
            lane.Queue.Charge(call, item.Ids.Length);
            charged = lane.Queue.Charged;
            Start(item, batch);
        }

        return batch;
    }

    private static int MostTexts(VectorKind kind) => Math.Max(1, MaxRowBytes / sizeof(float) / kind.RowLength);

    /// <summary>Finds the next text of a kind, or of any kind for null, in the lane with the smallest charge.</summary>
    private bool TryPeek(
        VectorKind? kind,
        [NotNullWhen(true)] out TextLane? lane,
        [NotNullWhen(true)] out PoolCall? call,
        [NotNullWhen(true)] out TextItem? item)
    {
        (lane, call, item) = (null, null, null);
        foreach (TextLane candidate in lanes)
        {
            if ((lane is null || candidate.Queue.Charged < lane.Queue.Charged)
                && candidate.Queue.TryPeek(kind, out PoolCall? whose, out TextItem? text))
            {
                (lane, call, item) = (candidate, whose, text);
            }
        }

        return lane is not null;
    }

    private void Start(TextItem item, Batch batch)
    {
        batch.Add(item);
        foreach (var (call, _) in item.Subscribers)
        {
            QueueEntry entry = call.Entry;
            if (!entry.Running.Add(item))
            {
                continue;
            }

            entry.StartedAt ??= batch.StartedAt;
            AddQueued(call, -item.Ids.Length);
            ShrinkReservation(call);
        }
    }

    /// <summary>Frees a part of the reservation of a call that has queued all of its texts: it needs no more than what still waits.</summary>
    private static void ShrinkReservation(PoolCall call)
    {
        if (!call.Entry.IsFeeding)
        {
            call.Entry.Slot?.ShrinkTo(call.Entry.QueuedTokens);
        }
    }

    private void AddQueued(PoolCall call, long tokens)
    {
        call.Entry.QueuedTokens += tokens;
        LaneOf(call).Queued += tokens;
        queued += tokens;
    }

    /// <summary>Removes the subscriptions of a call to a text.</summary>
    /// <returns>Whether this call was the last that wanted the text.</returns>
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

    private IBatchTaker? TakeIdleIfWorkWaits() => queued > 0 || retries.Count > 0 ? TakeIdle() : null;

    /// <summary>Picks the taker that became idle last: its memory is still in the CPU caches, and the others stay idle long enough to end.</summary>
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

    private sealed class Lease(Scheduler scheduler, PoolCall call) : IDisposable
    {
        public void Dispose() => scheduler.Remove(call);
    }
}
