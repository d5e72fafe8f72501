using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>A signal reaches every waiter.</summary>
internal sealed class SignalTests
{
    [Test]
    public async Task Each_waiter_has_its_own_task_whose_continuation_does_not_run_inside_Set()
    {
        var signal = new Signal<int>();
        Task<int>[] waiters = [signal.WaitAsync(), signal.WaitAsync()];
        Assert.That(waiters, Is.Unique);
        Assert.That((signal.IsSet, waiters[0].IsCompleted), Is.EqualTo((false, false)));
        using var release = new ManualResetEventSlim();
        Task[] after =
        [
            .. waiters.Select(async waiter =>
            {
                Assert.That(await waiter.ConfigureAwait(false), Is.EqualTo(7));
                Eventually.IsSet(release);
            }),
        ];
        signal.Set(7);
        // The continuations wait for this event. If Set ran them, it would not return.
        release.Set();
        await Task.WhenAll(after).WaitAsync(Eventually.Timeout);
        Assert.That((signal.IsSet, await signal.WaitAsync()), Is.EqualTo((true, 7)));
    }

    [Test]
    public void Only_the_first_outcome_of_a_signal_counts()
    {
        var signal = new Signal<int>();
        Task<int> waiter = signal.WaitAsync();
        signal.Fail(new InvalidOperationException("the first"));
        signal.Set(1);
        Assert.That(async () => await waiter, Throws.TypeOf<InvalidOperationException>());
        Assert.That(async () => await signal.WaitAsync(), Throws.TypeOf<InvalidOperationException>());
    }

    [Test]
    public void A_refused_thread_of_the_thread_pool_is_ignored_and_other_errors_are_thrown() => Assert.Multiple(() =>
    {
        Assert.That(() => QueueingCode.Run(() => throw new OutOfMemoryException("Thread failed to start.")), Throws.Nothing);
        Assert.That(() => QueueingCode.Run(() => throw new InvalidOperationException("something else")), Throws.InvalidOperationException);
    });
}
