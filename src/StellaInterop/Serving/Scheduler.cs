using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

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
/// <para>
/// Two bounds hold whatever texts turn out to have. Every accepted call reserves tokens of
/// <see cref="StellaPoolOptions.MaxQueuedTokens"/> by an estimate, at most two batches, and is refused when they are not free.
/// And the tokens that really wait never exceed the same limit: a part of a call that does not fit is kept until it does. Workers
/// always take waiting texts, so room for the next part always comes.
/// </para>
/// <para>
/// Each priority has its own waiting line. Bulk calls hold at most their share of both bounds, and the first of them that
/// waits has the first claim on room within that share. So neither priority can shut the other out.
/// </para>
/// <para>Lock order: this lock, then that of a <see cref="PoolCall"/>. No foreign code runs under either.</para>
/// </remarks>
internal sealed class Scheduler
{
    /// <summary>Rows of one batch take at most this memory, so that what a worker keeps for them is small.</summary>
    private const int MaxRowBytes = 1 << 20;

    private readonly Lock gate = new();
    private readonly StellaPoolOptions options;
    private readonly Lane interactive;
    private readonly Lane bulk;

    /// <summary>By <see cref="StellaPriority"/>.</summary>
    private readonly Lane[] lanes;

    /// <summary>The order in which room is given away. Interactive calls keep out of the claim of bulk anyway.</summary>
    private readonly Lane[] bulkFirst;

    private readonly Dictionary<TextKey, TextItem> inFlight = [];
    private readonly Queue<Batch> retries = [];
    private readonly List<IBatchTaker> idle = [];
    private readonly PoolLimits limits;
    private readonly PoolClock clock;

    private readonly HashSet<PoolCall> accepted = [];
    private int runningBatches;
    private bool closed;
    private long taken;
    private long queued;
    private double tokensPerSecond;

    /// <summary>What the queue that was served last is charged.</summary>
    private double charged;

    public Scheduler(StellaPoolOptions options, PoolClock clock, PoolLimits limits)
    {
        this.options = options;
        this.clock = clock;
        this.limits = limits;
        // Interactive texts get sixteen seventeenths of the tokens while both wait.
        interactive = new Lane(weight: 16, options.MaxQueuedCalls, () => limits.QueuedTokens);
        // A share below one call would let nothing through.
        bulk = new Lane(
            weight: 1,
            Math.Max(1, (int)(options.BulkShare * options.MaxQueuedCalls)),
            () => limits.BulkTokens);
        lanes = [interactive, bulk];
        bulkFirst = [bulk, interactive];
    }

    public SchedulerState State
    {
        get
        {
            lock (gate)
            {
                return new SchedulerState(
                    accepted.Count, interactive.Waiters.Count + bulk.Waiters.Count, queued, taken, runningBatches, idle.Count);
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
                return [.. accepted, .. lanes.SelectMany(lane => lane.Waiters, (_, waiter) => waiter.Call)];
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
    /// <param name="estimate">About how many tokens its texts have. A call reserves no more than two batches.</param>
    /// <returns>Ends when the call is accepted, or has its answer.</returns>
    /// <exception cref="StellaOverloadedException">There is no room, and the call does not wait.</exception>
    /// <exception cref="StellaPoolClosedException">No calls are accepted any more.</exception>
    public Task AdmitAsync(PoolCall call, long estimate)
    {
        lock (gate)
        {
            if (call.IsAnswered)
            {
                return Task.CompletedTask;
            }

            if (closed)
            {
                throw new StellaPoolClosedException("The pool was closed while the call arrived.");
            }

            Lane lane = LaneOf(call);
            if (lane.Waiters.Count == 0 && CanAdmit(lane, estimate))
            {
                Admit(call, estimate);
                return Task.CompletedTask;
            }

            if (call.Options.QueueFullMode == StellaQueueFullMode.Reject || (lane.Waiters.Count >= lane.CallLimit && !call.Options.IsPartOfStream))
            {
                throw Overloaded(lane);
            }

            var admitted = new Signal();
            lane.Waiters.AddLast(new Waiter(call, estimate, admitted));
            return admitted.WaitAsync();
        }
    }

    /// <summary>Queues texts of an accepted call as soon as there is room for them. A call has one part on its way at a time.</summary>
    /// <param name="call">The call.</param>
    /// <param name="texts">Tokens of the texts: together at most a batch, or one text.</param>
    /// <param name="indices">Indices of the texts in the call.</param>
    /// <param name="isLast">Whether these are the last texts of the call.</param>
    /// <returns>Ends when the texts wait in the queue, or the call has its answer.</returns>
    public Task EnqueueAsync(PoolCall call, ReadOnlyMemory<TokenizedText> texts, ReadOnlyMemory<int> indices, bool isLast)
    {
        IBatchTaker? taker;
        Task queuedAll = Task.CompletedTask;
        lock (gate)
        {
            // An answered call has been removed, or will be by whoever answered it: texts queued now would stay.
            if (call.IsAnswered || !call.Place.IsAdmitted)
            {
                return Task.CompletedTask;
            }

            long tokens = 0;
            foreach (TokenizedText text in texts.Span)
            {
                tokens += text.Ids.Length;
            }

            Lane lane = LaneOf(call);
            call.Place.Part = new QueuedPart(texts, indices, tokens, isLast);
            LinkedListNode<PoolCall> node = lane.Parts.AddLast(call);
            taker = Refill();
            if (node.List is not null)
            {
                var room = new Signal();
                call.Place.Room = room;
                queuedAll = room.WaitAsync();
            }
        }

        taker?.Wake();
        return queuedAll;
    }

    /// <summary>
    /// The next batch, or <see langword="null"/> when there is nothing to do: the taker then counts as idle until it is woken.
    /// </summary>
    public Batch? TryTake(IBatchTaker taker)
    {
        long now = clock.Now;
        IBatchTaker? next = null;
        Batch? batch;
        lock (gate)
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

    /// <summary>Says that a taker will not come again. If it was woken in vain, another is.</summary>
    public void Leave(IBatchTaker taker)
    {
        IBatchTaker? next = null;
        lock (gate)
        {
            if (!idle.Remove(taker))
            {
                next = TakeIdleIfWorkWaits();
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
    /// <returns>The batch's fault, if this was the last batch of the search for its cause.</returns>
    public FaultCase? Return(Batch batch, params ReadOnlySpan<List<TextItem>> again)
    {
        IBatchTaker? taker = null;
        FaultCase? closedCase = null;
        lock (gate)
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
                        batch.Fault?.NoteCut();
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
                batch.Fault?.NoteCut();
            }

            if (batch.Fault is { } fault)
            {
                // The batch that failed first was never counted, those of the search were.
                fault.OpenBatches -= batch.IsOpen ? 1 : 0;
                closedCase = fault.OpenBatches == 0 ? fault : null;
            }
        }

        taker?.Wake();
        return closedCase;
    }

    /// <summary>Takes a call and all that only it wanted out of the queue. Stops batches that nobody wants any more.</summary>
    public void Remove(PoolCall call)
    {
        QueueEntry place = call.Place;
        IBatchTaker? taker;
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

            Lane lane = LaneOf(call);
            if (place.Turn is not null)
            {
                lane.Queue.Remove(call);
            }

            if (place.Part is not null)
            {
                place.Part = null;
                _ = lane.Parts.Remove(call);
            }

            place.Waiting.Clear();
            place.Running.Clear();
            AddQueued(call, -place.QueuedTokens);
            AddTaken(call, -place.Charge);
            place.Room?.Set();
            if (place.IsAdmitted)
            {
                place.IsAdmitted = false;
                lane.Calls--;
                _ = accepted.Remove(call);
            }
            else
            {
                RemoveWaiter(lane, call);
            }

            AdmitWaiters();
            taker = Refill();
        }

        taker?.Wake();
    }

    private Lane LaneOf(PoolCall call) => lanes[(int)call.Priority];

    /// <summary>Whether both bounds have room for a call, without what the other priority has a claim on.</summary>
    private bool CanAdmit(Lane lane, long estimate)
    {
        long charge = ChargeOf(lane, estimate);
        (int calls, long tokens) = lane == bulk ? (0, 0) : AdmissionClaim();
        return lane.HasRoomFor(charge)
            && accepted.Count + calls < options.MaxQueuedCalls
            && taken + charge + tokens <= limits.QueuedTokens;
    }

    /// <summary>Returns the room that the first waiting bulk call may still take of its share.</summary>
    private (int Calls, long Tokens) AdmissionClaim() =>
        bulk.Waiters.First is { } first && ChargeOf(bulk, first.Value.Estimate) is var charge && bulk.HasRoomFor(charge) ? (1, charge) : (0, 0);

    /// <summary>
    /// Returns the tokens that a call reserves. It is computed at admission: a model that was loaded while the call waited may have
    /// lowered the limits, and a reservation above them would never fit.
    /// </summary>
    private long ChargeOf(Lane lane, long estimate) => Math.Min(estimate, Math.Min(2L * limits.BatchTokens, lane.TokenLimit));

    private void Admit(PoolCall call, long estimate)
    {
        Lane lane = LaneOf(call);
        _ = accepted.Add(call);
        lane.Calls++;
        AddTaken(call, ChargeOf(lane, estimate));
        call.Place.IsAdmitted = true;
        call.Place.IsFeeding = true;
    }

    private void AdmitWaiters()
    {
        foreach (Lane lane in bulkFirst)
        {
            while (lane.Waiters.First is { } first && (first.Value.Call.IsAnswered || CanAdmit(lane, first.Value.Estimate)))
            {
                lane.Waiters.RemoveFirst();
                if (!first.Value.Call.IsAnswered)
                {
                    Admit(first.Value.Call, first.Value.Estimate);
                }

                first.Value.Admitted.Set();
            }
        }
    }

    private static void RemoveWaiter(Lane lane, PoolCall call)
    {
        for (var node = lane.Waiters.First; node is not null; node = node.Next)
        {
            if (ReferenceEquals(node.Value.Call, call))
            {
                lane.Waiters.Remove(node);
                node.Value.Admitted.Set();
                return;
            }
        }
    }

    private StellaOverloadedException Overloaded(Lane lane) => lane == bulk
        ? new StellaOverloadedException("bulk", bulk.Calls + bulk.Waiters.Count, bulk.CallLimit, bulk.Taken, bulk.TokenLimit, RetryAfter())
        : new StellaOverloadedException(
            "interactive", accepted.Count + interactive.Waiters.Count, options.MaxQueuedCalls, taken, limits.QueuedTokens, RetryAfter());

    /// <summary>Queues the parts that there is room for, those of bulk within its share first.</summary>
    /// <returns>A taker to wake, if work waits and one is idle.</returns>
    private IBatchTaker? Refill()
    {
        foreach (Lane lane in bulkFirst)
        {
            long claim = lane == interactive ? PartClaim() : 0;
            for (LinkedListNode<PoolCall>? node = lane.Parts.First, next; node is not null; node = next)
            {
                next = node.Next;
                QueueEntry place = node.Value.Place;
                QueuedPart part = place.Part!;
                if (!HasOwnRoom(place, part))
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

    /// <summary>Tokens of the first bulk part that its share has room for, and the whole queue has not.</summary>
    private long PartClaim()
    {
        foreach (PoolCall call in bulk.Parts)
        {
            if (HasOwnRoom(call.Place, call.Place.Part!))
            {
                return bulk.Queued + call.Place.Part!.Tokens <= bulk.TokenLimit ? call.Place.Part.Tokens : 0;
            }
        }

        return 0;
    }

    /// <summary>A call keeps at most two batches in the queue; a call without any can always add one text.</summary>
    private bool HasOwnRoom(QueueEntry place, QueuedPart part) =>
        place.QueuedTokens == 0 || place.QueuedTokens + part.Tokens <= 2L * limits.BatchTokens;

    private void AddPart(PoolCall call, QueuedPart part)
    {
        QueueEntry place = call.Place;
        ReadOnlySpan<TokenizedText> texts = part.Texts.Span;
        ReadOnlySpan<int> indices = part.Indices.Span;
        for (int i = 0; i < texts.Length; i++)
        {
            Add(call, texts[i], indices[i]);
        }

        place.Part = null;
        place.IsFeeding = !part.IsLast;
        UpdateCharge(call);
        place.Room?.Set();
        place.Room = null;
    }

    private void Add(PoolCall call, TokenizedText text, int index)
    {
        TextKey key = call.KeyOf(text.Text);
        ref TextItem? known = ref CollectionsMarshal.GetValueRefOrAddDefault(inFlight, key, out bool exists);
        if (!exists)
        {
            known = new TextItem(key, text);
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
            call.Place.StartedAt ??= item.Batch!.StartedAt;
        }
        else if (isNew)
        {
            call.Place.Waiting.Enqueue(item);
            AddQueued(call, item.Ids.Length);
            if (call.Place.Turn is null)
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

            // Nobody wants its texts any more, so they cannot be blamed either.
            if (batch.Fault is not null)
            {
                batch.Fault.NoteCut();
                batch.Fault.OpenBatches--;
            }
        }

        return null;
    }

    /// <summary>Takes texts in fair order, of one kind, until the batch is full.</summary>
    private Batch? Build(long now)
    {
        // What waits is shared with those who have nothing to do, but not cut so small that weights are read for a few
        // tokens.
        long share = Math.Max(queued / (idle.Count + 1), Math.Min(256, limits.BatchTokens));
        long budget = Math.Min(share, limits.BatchTokens);
        bool hasInteractive = false;
        Batch? batch = null;
        while (TryPeek(batch?.Kind, out Lane? lane, out PoolCall? call, out TextItem? item)
            && (batch is null || (batch.Tokens + item.Ids.Length <= budget && batch.Items.Count < MostTexts(batch.Kind))))
        {
            // Somebody waits for the interactive texts, and no more of them are there: bulk texts would only delay them.
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

    private static int MostTexts(VectorKind kind) => Math.Max(1, MaxRowBytes / sizeof(float) / kind.Dimension);

    /// <summary>The next text of a kind, or of any: that of the queue that was charged least.</summary>
    private bool TryPeek(
        VectorKind? kind,
        [NotNullWhen(true)] out Lane? lane,
        [NotNullWhen(true)] out PoolCall? call,
        [NotNullWhen(true)] out TextItem? item)
    {
        (lane, call, item) = (null, null, null);
        foreach (Lane candidate in lanes)
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
            QueueEntry place = call.Place;
            if (!place.Running.Add(item))
            {
                continue;
            }

            place.StartedAt ??= batch.StartedAt;
            AddQueued(call, -item.Ids.Length);
            UpdateCharge(call);
        }
    }

    /// <summary>A call that has queued all of its texts keeps no more reserved than what still waits.</summary>
    private void UpdateCharge(PoolCall call)
    {
        QueueEntry place = call.Place;
        if (!place.IsFeeding && place.QueuedTokens < place.Charge)
        {
            AddTaken(call, place.QueuedTokens - place.Charge);
            AdmitWaiters();
        }
    }

    private void AddQueued(PoolCall call, long tokens)
    {
        call.Place.QueuedTokens += tokens;
        LaneOf(call).Queued += tokens;
        queued += tokens;
    }

    private void AddTaken(PoolCall call, long tokens)
    {
        call.Place.Charge += tokens;
        LaneOf(call).Taken += tokens;
        taken += tokens;
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

    private IBatchTaker? TakeIdleIfWorkWaits() => queued > 0 || retries.Count > 0 ? TakeIdle() : null;

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
