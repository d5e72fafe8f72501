using CsCheck;
using StellaInterop.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// Admission and scheduler as state machines: after any sequence of operations their counts are correct, and each call gets every one of
/// its texts exactly once.
/// </summary>
internal sealed class SchedulerTests
{
    private const int BatchTokens = 100;
    private const int MaxCalls = 6;
    private const int Limit = 500;

    private enum Step
    {
        Arrive,
        Enqueue,
        Take,
        Finish,
        FailOne,
        FailAll,
        Cancel,
    }

    [Test]
    public void Token_accounting_holds_after_any_sequence_of_operations()
    {
        Gen<(Step, int)[]> steps = Gen.Select(Gen.Frequency(
            (6, Gen.Const(Step.Arrive)), (10, Gen.Const(Step.Enqueue)), (10, Gen.Const(Step.Take)), (8, Gen.Const(Step.Finish)),
            (1, Gen.Const(Step.FailOne)), (1, Gen.Const(Step.FailAll)), (2, Gen.Const(Step.Cancel))), Gen.Int[0, 1 << 30]).Array[0, 120];
        steps.Sample(
            sequence =>
            {
                var simulation = new Simulation();
                foreach ((Step step, int choice) in sequence)
                {
                    simulation.Apply(step, choice);
                    simulation.Check();
                }

                simulation.DrainAndCheck();
            },
            iter: 3000);
    }

    /// <summary>A scheduler and an admission with simulated callers and workers.</summary>
    private sealed class Simulation
    {
        private static readonly string[] Words =
            ["", "a", "ab", "river", "stone bridge", new string('x', 60), new string('y', 98), new string('z', 30)];

        private static readonly string?[] Groups = [null, "a", "b"];

        private static readonly StellaPoolOptions Options = TestPool.Options with { MaxQueuedCalls = MaxCalls, MaxQueuedTokens = Limit };

        private static readonly PoolLimits Limits = new(Options);

        private readonly Admission admission = new(Options, Limits);
        private readonly Scheduler scheduler = new(new PoolClock(TimeProvider.System), Limits);
        private readonly List<SimulatedCaller> callers = [];
        private readonly List<FaultCase> faults = [];
        private readonly List<SimulatedTaker> takers;
        private long clock;

        public Simulation() => takers = [new(faults), new(faults), new(faults)];

        public void Apply(Step step, int choice)
        {
            var random = new PCG((uint)choice);
            switch (step)
            {
                case Step.Arrive:
                    Arrive(random);
                    break;
                case Step.Enqueue:
                    Pick(callers.Where(caller => caller.CanEnqueue).ToList(), random)?.Enqueue(scheduler, (int)(random.Next() % 4) + 1);
                    break;
                case Step.Take:
                    Pick(takers.Where(taker => taker.Batch is null && !taker.IsAsleep).ToList(), random)?.Take(scheduler);
                    break;
                case Step.Finish:
                    Pick(takers.Where(taker => taker.Batch is not null).ToList(), random)?.Finish(scheduler);
                    break;
                case Step.FailOne:
                    Pick(takers.Where(taker => taker.Batch is not null).ToList(), random)?.FailOne(scheduler, random);
                    break;
                case Step.FailAll:
                    Pick(takers.Where(taker => taker.Batch is not null).ToList(), random)?.FailAll(scheduler);
                    break;
                default:
                    Pick(callers.Where(caller => !caller.Call.IsAnswered).ToList(), random)?.Call
                        .End(CallOutcome.Cancelled, new OperationCanceledException());
                    break;
            }
        }

        public void Check()
        {
            SchedulerState state = scheduler.State;
            AdmissionState admitted = admission.State;
            long waiting = callers.Sum(caller => caller.Call.Entry.Waiting.Distinct()
                .Where(item => item.State == TextState.Waiting).Sum(item => (long)item.Ids.Length));
            Assert.That(state.QueuedTokens, Is.EqualTo(waiting), "the queued tokens are not the sum over the calls");
            Assert.That(admitted.ReservedTokens, Is.EqualTo(callers.Sum(caller => caller.Reserved)));
            Assert.That(admitted.ReservedTokens, Is.LessThanOrEqualTo(Limit));
            Assert.That(state.QueuedTokens, Is.LessThanOrEqualTo(Limit));
            SimulatedCaller[] bulk = [.. callers.Where(caller => caller.Call.Options.Priority == StellaPriority.Bulk)];
            Assert.That(bulk.Count(caller => caller.IsAdmitted), Is.LessThanOrEqualTo(MaxCalls * 3 / 4));
            Assert.That(bulk.Sum(caller => caller.Reserved), Is.LessThanOrEqualTo(Limit * 3 / 4));
            Assert.That(bulk.Sum(caller => caller.Call.Entry.QueuedTokens), Is.LessThanOrEqualTo(Limit * 3 / 4));
            Assert.That(admitted.Calls, Is.EqualTo(callers.Count(caller => caller.IsAdmitted)).And.LessThanOrEqualTo(MaxCalls));
            Assert.That(state.RunningBatches, Is.EqualTo(takers.Count(taker => taker.Batch is not null)));
            foreach (SimulatedCaller caller in callers)
            {
                caller.Check();
            }

            if (state.QueuedTokens > 0)
            {
                Assert.That(state.IdleTakers, Is.LessThan(takers.Count), "texts are queued while every taker sleeps");
            }
        }

        /// <summary>Queues and computes all remaining texts, then checks that nothing is left.</summary>
        public void DrainAndCheck()
        {
            for (int round = 0; callers.Exists(caller => !caller.Call.IsAnswered); round++)
            {
                Assert.That(round, Is.LessThan(10_000), "a call is never answered");
                foreach (SimulatedCaller caller in callers.Where(caller => caller.CanEnqueue))
                {
                    caller.Enqueue(scheduler, 3);
                }

                foreach (SimulatedTaker taker in takers)
                {
                    if (taker.Batch is not null)
                    {
                        taker.Finish(scheduler);
                    }
                    else if (!taker.IsAsleep)
                    {
                        taker.Take(scheduler);
                    }
                }

                Check();
            }

            takers.ForEach(taker => taker.Finish(scheduler));
            foreach (SimulatedTaker taker in takers.Where(taker => !taker.IsAsleep))
            {
                // Retries whose calls have ended are dropped when a taker looks for a batch.
                taker.Take(scheduler);
            }

            Check();
            AdmissionState admitted = admission.State;
            Assert.That(
                (admitted.Calls, admitted.WaitingCalls, admitted.ReservedTokens, scheduler.State.QueuedTokens), Is.EqualTo((0, 0, 0L, 0L)));
            Assert.That(callers, Has.All.Property(nameof(SimulatedCaller.Answers)).EqualTo(1));
            Assert.That(faults, Has.All.Property(nameof(FaultCase.OpenBatches)).Zero, "a search for a faulty text has not ended");
        }

        private static T? Pick<T>(List<T> from, PCG random)
            where T : class => from.Count == 0 ? null : from[(int)(random.Next() % from.Count)];

        private void Arrive(PCG random)
        {
            string[] texts = [.. Enumerable.Range(0, (int)(random.Next() % 12) + 1).Select(_ => Words[random.Next() % Words.Length])];
            var caller = new SimulatedCaller(
                texts,
                new StellaCallOptions
                {
                    Priority = (StellaPriority)(random.Next() % 2),
                    QueueFullMode = (StellaQueueFullMode)(random.Next() % 2),
                    TextFailureMode = (StellaTextFailureMode)(random.Next() % 2),
                    FairnessGroup = Groups[random.Next() % Groups.Length],
                },
                random.Next() % 4 == 0 ? FakeModel.OtherDimension : FakeModel.DefaultDimension,
                // One caller in four estimates only a third of its tokens.
                underestimate: random.Next() % 4 == 0 ? 3 : 1,
                clock++);
            callers.Add(caller);
            caller.Arrive(admission);
        }
    }

    private sealed class SimulatedCaller
    {
        private readonly string[] texts;
        private readonly int dimension;
        private readonly float[] vectors;
        private readonly HashSet<int> failed = [];
        private readonly int underestimate;
        private AdmissionSlot? slot;
        private bool isOpen;
        private Task queued = Task.CompletedTask;
        private int next;

        public SimulatedCaller(string[] texts, StellaCallOptions options, int dimension, int underestimate, long now)
        {
            this.underestimate = underestimate;
            this.texts = texts;
            this.dimension = dimension;
            vectors = new float[texts.Length * dimension];
            Call = new PoolCall(texts, new StellaEmbedOptions(), options, null, CallBuffers.OfCaller(vectors, default)) { ArrivedAt = now };
            Call.Open(new VectorKind(new Heads(dimension), true), fileStamp: 0);
            Assert.That(Call.Hold(new AnswerCount(this)));
        }

        public PoolCall Call { get; }

        public int Answers { get; set; }

        public bool IsAdmitted => slot is { IsAdmitted: true };

        public long Reserved => slot?.Reserved ?? 0;

        public bool CanEnqueue => next < texts.Length && IsAdmitted && queued.IsCompleted && !Call.IsAnswered;

        public void Arrive(Admission admission)
        {
            int tokens = texts.Sum(text => text.Length + 1);
            try
            {
                slot = admission.Enter(Call.Options, tokens / underestimate);
                Assert.That(Call.Hold(slot));
            }
            catch (StellaOverloadedException e)
            {
                Assert.That(Call.Options.QueueFullMode == StellaQueueFullMode.Reject || Call.Options.FairnessGroup is not null || e.QueuedCallCount >= e.MaxQueuedCalls);
                Call.End(CallOutcome.Rejected, e);
            }
        }

        public void Enqueue(Scheduler scheduler, int count)
        {
            if (!isOpen)
            {
                isOpen = true;
                Assert.That(Call.Hold(scheduler.Open(Call, slot!)));
            }

            int[] indices = [.. Enumerable.Range(next, Math.Min(count, texts.Length - next))];
            while (indices.Length > 1 && indices.Sum(i => texts[i].Length + 1) > BatchTokens)
            {
                indices = indices[..^1];
            }

            QueuedText[] part =
            [
                .. indices.Select(i => new QueuedText(
                    i,
                    new TextKey(texts[i], default, Call.Kind, Call.FileStamp),
                    new TokenizedText((uint[])[.. texts[i].Select(c => (uint)c).Prepend(1000u)], default))),
            ];
            next += indices.Length;
            queued = scheduler.EnqueueAsync(Call, part, next == texts.Length ? PartOrder.Last : PartOrder.MoreFollow);
        }

        public void Check()
        {
            Assert.That(Answers, Is.LessThanOrEqualTo(1));
            Assert.That(Answers == 1, Is.EqualTo(Call.IsAnswered));
            Assert.That(Call.Entry.QueuedTokens, Is.LessThanOrEqualTo(2 * BatchTokens));
            if (Call.AnswerAsync() is { IsCompleted: true, Result.Error: null })
            {
                foreach (StellaTextFailure failure in Call.Summarize(TimeSpan.Zero).Failures)
                {
                    failed.Add(failure.TextIndex);
                }

                for (int i = 0; i < texts.Length; i++)
                {
                    float[] expected = failed.Contains(i) ? new float[dimension] : FakeModel.Vector(texts[i], dimension: dimension);
                    Assert.That(vectors.AsSpan(i * dimension, dimension).SequenceEqual(expected), $"text {i}");
                }
            }
        }
    }

    /// <summary>A lease that counts the answers of a caller: a call disposes its leases once per answer.</summary>
    private sealed class AnswerCount(SimulatedCaller caller) : IDisposable
    {
        public void Dispose() => caller.Answers++;
    }

    private sealed class SimulatedTaker(List<FaultCase> faults) : IBatchTaker
    {
        public Batch? Batch { get; private set; }

        public bool IsAsleep { get; private set; }

        public void Wake()
        {
            Assert.That(IsAsleep, "a taker was woken that did not sleep");
            IsAsleep = false;
        }

        public void Take(Scheduler scheduler)
        {
            // Set before the call, because the scheduler may wake an idle taker at once.
            IsAsleep = true;
            Batch = scheduler.TryTake(this);
            IsAsleep = Batch is null;
            if (Batch is { } batch)
            {
                Assert.That(batch.Items, Is.Not.Empty);
                Assert.That(batch.Tokens, Is.EqualTo(batch.Items.Sum(item => item.Ids.Length)).And.LessThanOrEqualTo(BatchTokens));
                Assert.That(batch.Items, Has.All.Matches<TextItem>(item => item.Key.Kind == batch.Kind));
                Assert.That(batch.Wanted, Is.GreaterThan(0), "no call waits for the batch");
                Assert.That(batch.Fault?.OpenBatches, Is.Null.Or.Positive, "the search of the batch has already ended");
            }
        }

        public void Finish(Scheduler scheduler)
        {
            if (Batch is not { } batch)
            {
                return;
            }

            Batch = null;
            foreach (TextItem item in batch.Items)
            {
                float[] row = FakeModel.Vector(item.Key.Text, dimension: batch.Kind.RowLength);
                foreach (var (call, index) in scheduler.Finish(item))
                {
                    call.Deliver(index, row);
                }
            }

            scheduler.Return(batch);
        }

        public void FailOne(Scheduler scheduler, PCG random)
        {
            Batch batch = Batch!;
            Batch = null;
            TextItem faulty = batch.Items[(int)(random.Next() % batch.Items.Count)];
            foreach (var (call, index) in scheduler.Finish(faulty))
            {
                call.FailText(index, new StellaInputException(StellaErrorCode.ResultNotFinite, "The text is faulty.", index));
            }

            _ = batch.Items.Remove(faulty);
            scheduler.Return(batch, batch.Items);
        }

        public void FailAll(Scheduler scheduler)
        {
            Batch batch = Batch!;
            Batch = null;
            batch.Fault ??= new FaultCase(new StellaException(StellaErrorCode.ForwardFailed, "The forward pass failed."));
            faults.Add(batch.Fault);
            int half = batch.Items.Count / 2;
            scheduler.Return(batch, batch.Items[..half], batch.Items[half..]);
        }
    }
}
