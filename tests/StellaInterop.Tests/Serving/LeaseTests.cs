using System.Buffers;
using StellaInterop.Serving;

namespace StellaInterop.Tests.Serving;

/// <summary>The leases of a call: each one is disposed once, before the answer, however the call ends.</summary>
internal sealed class LeaseTests
{
    [Test]
    public async Task Leases_are_disposed_in_reverse_order_before_the_answer()
    {
        PoolCall call = NewCall();
        Task<CallAnswer> answer = call.AnswerAsync();
        var disposed = new List<int>();
        for (int i = 0; i < 3; i++)
        {
            int number = i;
            Assert.That(call.Hold(new Lease(() =>
            {
                Assert.That(call.IsAnswered && !answer.IsCompleted);
                disposed.Add(number);
            })));
        }

        call.End(CallOutcome.Cancelled, null);
        call.End(CallOutcome.Failed, null);
        Assert.That((await answer).Outcome, Is.EqualTo(CallOutcome.Cancelled));
        Assert.That(disposed, Is.EqualTo((int[])[2, 1, 0]));
    }

    [Test]
    public void A_call_with_its_answer_disposes_a_new_lease_at_once()
    {
        PoolCall call = NewCall();
        call.End(CallOutcome.TimedOut, null);
        int disposed = 0;
        Assert.That(call.Hold(new Lease(() => disposed++)), Is.False);
        Assert.That(disposed, Is.EqualTo(1));
    }

    [Test]
    public async Task A_lease_whose_dispose_throws_keeps_neither_the_other_leases_nor_the_answer()
    {
        PoolCall call = NewCall();
        int disposed = 0;
        _ = call.Hold(new Lease(() => disposed++));
        _ = call.Hold(new Lease(() => throw new InvalidOperationException("thrown by the lease")));
        _ = call.Hold(new Lease(() => disposed++));
        call.End(CallOutcome.Cancelled, null);
        Assert.That(disposed, Is.EqualTo(2));
        Assert.That((await call.AnswerAsync()).FailedRelease, Is.TypeOf<InvalidOperationException>());
    }

    [Test]
    public async Task A_call_cancelled_after_it_joined_the_workers_and_before_it_is_queued_leaves_nothing_behind()
    {
        using var stop = new CancellationTokenSource();
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        using var memory = new ArrayRequestMemory(FakeModel.DefaultDimension, stop.Cancel);
        Assert.That(
            async () => await pool.EmbedAsync((string[])["one"], memory.Memory, cancellationToken: stop.Token).WaitAsync(Eventually.Timeout),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(await pool.EmbedAsync("two").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("two")));
        Assert.That(model.Forwards, Is.EqualTo(1), "the cancelled text was computed");
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task A_call_whose_workers_are_lost_before_it_is_queued_ends_by_their_error()
    {
        var model = new FakeModel();
        model.OnSession = number =>
        {
            if (number == 2)
            {
                throw new StellaException(StellaErrorCode.OutOfMemory, "no session");
            }
        };
        model.OnForward = _ =>
        {
            if (model.Loads == 1)
            {
                throw new StellaException(StellaErrorCode.Panic, "thrown by the test");
            }
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        using var memory = new ArrayRequestMemory(
            FakeModel.DefaultDimension,
            () => Assert.That(() => pool.EmbedAsync("breaks the worker").Wait(Eventually.Timeout), Throws.InstanceOf<AggregateException>()));
        Assert.That(
            async () => await pool.EmbedAsync((string[])["one"], memory.Memory).WaitAsync(Eventually.Timeout),
            Throws.TypeOf<StellaException>().With.Message.EqualTo("no session"));
        Assert.That(await pool.EmbedAsync("two").WaitAsync(Eventually.Timeout), Is.EqualTo(FakeModel.Vector("two")));
        Assert.That(model.Loads, Is.EqualTo(2));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    private static PoolCall NewCall() => new(["text"], StellaEmbedOptions.Default, StellaCallOptions.Default, null, CallBuffers.New());

    private sealed class Lease(Action onDispose) : IDisposable
    {
        public void Dispose() => onDispose();
    }

    /// <summary>Memory that runs a callback when the pool asks whether it is an array: after the call joined the workers, before it is queued.</summary>
    private sealed class ArrayRequestMemory(int length, Action onRequest) : MemoryManager<float>
    {
        private readonly float[] items = new float[length];
        private int requests;

        public override Memory<float> Memory => CreateMemory(length);

        public override Span<float> GetSpan() => items;

        public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException();

        public override void Unpin()
        {
        }

        protected override bool TryGetArray(out ArraySegment<float> segment)
        {
            if (Interlocked.Increment(ref requests) == 1)
            {
                onRequest();
            }

            segment = default;
            return false;
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
