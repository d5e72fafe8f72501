using StellaInterop.Tests.Serving;
using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>Continuations run even if callers block every thread of the thread pool.</summary>
internal sealed class ContinuationTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(20);

    [Test]
    public void A_continuation_runs_once_and_not_on_the_calling_thread()
    {
        var continuations = new Continuations(Patience, static thread => thread.UnsafeStart());
        int runs = 0;
        using var ran = new CountdownEvent(1_000);
        using var allQueued = new ManualResetEventSlim();
        for (int i = 0; i < ran.InitialCount; i++)
        {
            continuations.Run(() =>
            {
                Eventually.IsSet(allQueued);
                _ = Interlocked.Increment(ref runs);
                _ = ran.Signal();
            });
        }

        allQueued.Set();
        Assert.That(ran.Wait(Eventually.Timeout));
        Assert.That(runs, Is.EqualTo(ran.InitialCount));
    }

    [Test]
    public void A_blocking_continuation_does_not_delay_the_others()
    {
        var continuations = new Continuations(Patience, static thread => thread.UnsafeStart());
        using var last = new ManualResetEventSlim();
        using var ended = new CountdownEvent(51);
        // More continuations than the thread pool has threads. Each waits for the last one.
        for (int i = 0; i < 50; i++)
        {
            continuations.Run(() =>
            {
                Eventually.IsSet(last);
                _ = ended.Signal();
            });
        }

        continuations.Run(() =>
        {
            last.Set();
            _ = ended.Signal();
        });
        Assert.That(ended.Wait(Eventually.Timeout));
    }

    [Test]
    public void A_refused_thread_loses_no_continuation()
    {
        var continuations = new Continuations(Patience, static _ => throw new OutOfMemoryException("Thread failed to start."));
        using var ran = new CountdownEvent(100);
        for (int i = 0; i < ran.InitialCount; i++)
        {
            continuations.Run(() => ran.Signal());
        }

        Assert.That(ran.Wait(Eventually.Timeout));
    }
}
