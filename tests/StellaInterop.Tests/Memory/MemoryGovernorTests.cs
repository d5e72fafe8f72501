using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>Reservations, their return, and the eviction of idle owners. Numbers are in MiB.</summary>
internal sealed class MemoryGovernorTests
{
    /// <summary>The timeout of a deadlock. Everything else is much faster.</summary>
    private static readonly TimeSpan DeadlockTimeout = TimeSpan.FromSeconds(30);

    private FakeSystem system = null!;
    private StellaMemoryGovernor governor = null!;

    /// <summary>The process uses 300 of 1000.</summary>
    [SetUp]
    public void Begin()
    {
        system = new FakeSystem();
        system.SetProcess(300);
        governor = new StellaMemoryGovernor(system.Options with { LimitBytes = 1000 * MiB });
    }

    [TearDown]
    public void End() => system.Dispose();

    private long Available
    {
        get
        {
            system.Time.Advance(TimeSpan.FromSeconds(1));
            return governor.GetStatus().AvailableBytes / MiB;
        }
    }

    [Test]
    public void Reserved_memory_is_counted_once_before_and_after_it_is_touched()
    {
        Assert.That(Available, Is.EqualTo(700), "nothing is reserved");
        MemoryReservation model = governor.Reserve("model", 500 * MiB);
        Assert.That(Available, Is.EqualTo(200), "the reservation is not touched");
        system.SetProcess(550);
        Assert.That(Available, Is.EqualTo(200), "the reservation is half touched");
        system.SetProcess(800);
        Assert.That(Available, Is.EqualTo(200), "the reservation is touched");
        model.Resize(500 * MiB);
        Assert.That(Available, Is.EqualTo(200), "the load is over");
        system.SetProcess(750);
        model.Resize(450 * MiB);
        Assert.That(Available, Is.EqualTo(250), "the memory of the load is returned");
        system.SetProcess(900);
        Assert.That(Available, Is.EqualTo(100), "the managed memory has grown");
        system.SetProcess(500);
        Assert.That(Available, Is.EqualTo(500), "the managed memory was collected");
        MemoryReservation worker = governor.Reserve("worker", 300 * MiB);
        Assert.That(Available, Is.EqualTo(200), "a second reservation beside the loaded model");
        system.SetProcess(700);
        Assert.That(Available, Is.EqualTo(200), "the second reservation is partly touched");
        worker.Dispose();
        model.Dispose();
        system.SetProcess(60);
        Assert.That(Available, Is.EqualTo(940), "everything is returned");
    }

    [Test]
    public void Measured_memory_that_cannot_belong_to_a_reservation_reduces_the_available_bytes()
    {
        using MemoryReservation model = governor.Reserve("model", 400 * MiB);
        system.SetProcess(850);
        Assert.That(Available, Is.EqualTo(150), "at least 450 are not the model's");
        system.SetProcess(100);
        Assert.That(Available, Is.EqualTo(500), "at most 100 are not the model's");
    }

    [Test]
    public void Memory_used_outside_of_pools_reduces_the_available_bytes()
    {
        system.SetProcess(990);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("model", 11 * MiB));
        Assert.That(error!.AvailableBytes, Is.EqualTo(10 * MiB));
    }

    [Test]
    public void A_reservation_can_grow_beyond_the_limit()
    {
        using MemoryReservation model = governor.Reserve("model", 100 * MiB);
        model.Resize(5000 * MiB);
        using MemoryReservation other = governor.Reserve("other", 0);
        other.Resize(long.MaxValue);
        StellaMemoryStatus status = governor.GetStatus();
        Assert.That((status.ReservedBytes, status.AvailableBytes, status.LimitBytes), Is.EqualTo((long.MaxValue, 0, 1000 * MiB)));
        other.Dispose();
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(5000 * MiB));
    }

    [Test]
    public void A_reservation_disposed_repeatedly_and_concurrently_is_returned_once()
    {
        using MemoryReservation kept = governor.Reserve("twin", 100 * MiB);
        MemoryReservation disposed = governor.Reserve("twin", 100 * MiB);
        Parallel.For(0, 16, _ => disposed.Dispose());
        Assert.Multiple(() =>
        {
            Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(100 * MiB));
            Assert.That((kept.Bytes, disposed.Bytes), Is.EqualTo((100 * MiB, 0L)));
            Assert.That(() => disposed.Resize(1), Throws.TypeOf<ObjectDisposedException>());
            Assert.That(() => kept.Resize(-1), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => governor.Reserve("x", -1), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => governor.Reserve("", 1), Throws.ArgumentException);
        });
    }

    [Test]
    public void A_refused_reservation_reserves_nothing()
    {
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("two", 701 * MiB));
        using MemoryReservation one = governor.Reserve("one", 700 * MiB);
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(700 * MiB));
    }

    [Test]
    public void A_refusal_names_the_request_the_available_memory_the_limit_and_a_remedy()
    {
        using MemoryReservation one = governor.Reserve("stella-large", 400 * MiB);
        using MemoryReservation two = governor.Reserve("stella-large", 100 * MiB);
        using MemoryReservation three = governor.Reserve("stella-mini", 150 * MiB);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("stella-new", 64 * MiB + 1));
        Assert.Multiple(() =>
        {
            Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.MemoryExhausted));
            Assert.That(
                (error.RequestedBytes, error.AvailableBytes, error.LimitBytes, error.LimitSource),
                Is.EqualTo((64 * MiB + 1, 50 * MiB, 1000 * MiB, "LimitBytes of the options")));
            Assert.That(error.Message, Does.StartWith("stella-new requested 64.0 MiB of memory, and 50.0 MiB are available. "));
            Assert.That(error.Message, Does.Contain("LimitBytes of the options sets a limit of 1000.0 MiB"));
            Assert.That(error.Message, Does.Contain("650.0 MiB are reserved (stella-large: 500.0 MiB, stella-mini: 150.0 MiB)"));
            Assert.That(error.Message, Does.Contain("Nothing is idle. Choose a lower precision, fewer workers"));
        });
    }

    [Test]
    public void The_status_lists_owners_with_the_largest_first()
    {
        using MemoryReservation small = governor.Reserve("small", 10 * MiB);
        using MemoryReservation a = governor.Reserve("large", 20 * MiB);
        using MemoryReservation b = governor.Reserve("large", 30 * MiB);
        Assert.That(governor.GetStatus().Owners, Is.EqualTo(new StellaMemoryOwner[] { new() { Name = "large", Bytes = 50 * MiB }, new() { Name = "small", Bytes = 10 * MiB } }));
    }

    [Test]
    public void The_status_measures_once_a_second_and_a_reservation_every_time()
    {
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(300 * MiB));
        system.SetProcess(800);
        system.Time.Advance(TimeSpan.FromSeconds(0.999));
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(300 * MiB));
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("model", 500 * MiB));
        system.Time.Advance(TimeSpan.FromSeconds(0.001));
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(800 * MiB));
    }

    [Test]
    public void The_status_after_a_load_uses_a_new_measurement()
    {
        using MemoryReservation model = governor.Reserve("model", 500 * MiB);
        system.SetProcess(800);
        model.Resize(500 * MiB);
        Assert.That(governor.GetStatus().AvailableBytes, Is.EqualTo(200 * MiB));
    }

    [Test]
    public async Task The_status_does_not_wait_for_a_reservation_that_measures()
    {
        _ = governor.GetStatus();
        using var measuring = new SemaphoreSlim(0);
        using var resume = new SemaphoreSlim(0);
        int reserving = -1;
        system.Time.OnTimestamp = () =>
        {
            if (Environment.CurrentManagedThreadId == Volatile.Read(ref reserving))
            {
                measuring.Release();
                resume.Wait();
            }
        };
        Task<MemoryReservation> reservation = Task.Run(() =>
        {
            Volatile.Write(ref reserving, Environment.CurrentManagedThreadId);
            MemoryReservation made = governor.Reserve("slow", MiB);
            Volatile.Write(ref reserving, -1);
            return made;
        });
        await measuring.WaitAsync();
        // A dedicated thread, because the reservation may block the last thread of the thread pool.
        Task<StellaMemoryStatus> status = Task.Factory.StartNew(
            governor.GetStatus, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        bool returned = await Task.WhenAny(status, Task.Delay(DeadlockTimeout)) == status;
        resume.Release();
        (await reservation).Dispose();
        Assert.That(returned, "the status waited for the reservation");
        Assert.That((await status).ReservedBytes, Is.Zero);
    }

    [Test]
    public void The_least_recently_used_owners_are_evicted_first_and_no_more_than_needed()
    {
        using var newest = new FakeIdleMemory(governor, "newest", 200 * MiB, idleSince: 30);
        using var busy = new FakeIdleMemory(governor, "busy", 100 * MiB, idleSince: null);
        using var oldest = new FakeIdleMemory(governor, "oldest", 200 * MiB, idleSince: 10);
        using var middle = new FakeIdleMemory(governor, "middle", 200 * MiB, idleSince: 20);
        using MemoryReservation made = governor.Reserve("new", 350 * MiB);
        Assert.That(
            new[] { oldest, middle, newest, busy }.Select(owner => owner.Released),
            Is.EqualTo(new[] { true, true, false, false }));
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(650 * MiB));
    }

    [Test]
    public void No_owner_is_evicted_while_there_is_room()
    {
        using var idle = new FakeIdleMemory(governor, "idle", 300 * MiB, idleSince: 1);
        using MemoryReservation made = governor.Reserve("new", 400 * MiB);
        Assert.That(idle.ReleaseRequests, Is.Zero);
    }

    [Test]
    public void No_owner_is_evicted_if_the_request_would_still_not_fit()
    {
        using var idle = new FakeIdleMemory(governor, "idle", 300 * MiB, idleSince: 1);
        using var busy = new FakeIdleMemory(governor, "busy", 300 * MiB, idleSince: null);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 401 * MiB));
        Assert.That((idle.ReleaseRequests, busy.ReleaseRequests, idle.Released), Is.EqualTo((0, 0, false)));
        Assert.That(error!.Message, Does.Contain("Unloading all idle models would free 300.0 MiB."));
        using MemoryReservation fits = governor.Reserve("new", 400 * MiB);
        Assert.That((idle.Released, busy.Released), Is.EqualTo((true, false)));
    }

    /// <summary>If usage exceeds the limit, an eviction would have to free the excess too.</summary>
    [Test]
    public void No_owner_is_evicted_if_usage_stays_above_the_limit()
    {
        using var idle = new FakeIdleMemory(governor, "idle", 300 * MiB, idleSince: 1);
        using MemoryReservation grown = governor.Reserve("grown", 100 * MiB);
        system.SetProcess(1200);
        grown.Resize(900 * MiB);
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 1 * MiB));
        Assert.That(idle.ReleaseRequests, Is.Zero);
    }

    [Test]
    public void An_owner_that_refuses_eviction_is_asked_once_and_the_next_owner_is_evicted()
    {
        using var stubborn = new FakeIdleMemory(governor, "stubborn", 300 * MiB, idleSince: 1) { OnRelease = () => false };
        using var willing = new FakeIdleMemory(governor, "willing", 300 * MiB, idleSince: 2);
        using (MemoryReservation made = governor.Reserve("new", 300 * MiB))
        {
            Assert.That((stubborn.ReleaseRequests, willing.Released), Is.EqualTo((1, true)));
        }

        using MemoryReservation rest = governor.Reserve("rest", 400 * MiB);
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("more", 300 * MiB));
        Assert.That(stubborn.ReleaseRequests, Is.EqualTo(2));
    }

    [Test]
    public void An_owner_used_during_an_eviction_is_kept()
    {
        using var second = new FakeIdleMemory(governor, "second", 200 * MiB, idleSince: 2);
        using var third = new FakeIdleMemory(governor, "third", 200 * MiB, idleSince: 3);
        using var first = new FakeIdleMemory(governor, "first", 200 * MiB, idleSince: 1)
        {
            OnRelease = () =>
            {
                second.Use();
                return true;
            },
        };
        using MemoryReservation made = governor.Reserve("new", 400 * MiB);
        Assert.That((first.Released, second.ReleaseRequests, third.Released), Is.EqualTo((true, 0, true)));
    }

    [Test]
    public void An_unregistered_owner_is_not_asked_to_release_memory()
    {
        using var unregistered = new FakeIdleMemory(governor, "unregistered", 300 * MiB, idleSince: 1);
        IDisposable twice = governor.Register(unregistered);
        unregistered.Unregister();
        twice.Dispose();
        twice.Dispose();
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 500 * MiB));
        Assert.That(unregistered.ReleaseRequests, Is.Zero);
    }

    [Test]
    public void An_owner_can_call_the_governor_from_any_thread_during_its_eviction()
    {
        using var idle = new FakeIdleMemory(governor, "idle", 600 * MiB, idleSince: 1);
        idle.OnRelease = () => RunsOnOtherThread(() =>
        {
            using MemoryReservation nested = governor.Reserve("nested", 50 * MiB);
            nested.Resize(40 * MiB);
            using IDisposable registration = governor.Register(idle);
            _ = governor.GetStatus();
        });
        using MemoryReservation made = governor.Reserve("new", 300 * MiB);
        Assert.That(idle.Released);
    }

    [Test]
    public void A_clock_that_throws_and_calls_back_does_not_fail_a_reservation()
    {
        int inside = 0;
        system.Time.OnTimestamp = () =>
        {
            if (Interlocked.Exchange(ref inside, 1) == 0)
            {
                _ = RunsOnOtherThread(() => governor.Reserve("nested", 50 * MiB).Dispose());
                throw new InvalidOperationException("thrown by the clock");
            }
        };
        governor.Reserve("new", 300 * MiB).Dispose();
        inside = 0;
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        Assert.That(inside, Is.EqualTo(1));
    }

    [Test]
    public void Two_concurrent_reservations_that_evict_the_same_owner_both_succeed()
    {
        using var a = new FakeIdleMemory(governor, "a", 300 * MiB, idleSince: 1);
        using var b = new FakeIdleMemory(governor, "b", 300 * MiB, idleSince: 2);
        // The owner releases its memory only after both reservations have asked for it.
        using var both = new Barrier(2);
        a.OnRelease = () => both.SignalAndWait(DeadlockTimeout);
        b.OnRelease = () => true;
        var made = new MemoryReservation?[2];
        var errors = new Exception?[2];
        Thread[] threads =
        [
            .. Enumerable.Range(0, 2).Select(i => new Thread(() =>
            {
                try
                {
                    made[i] = governor.Reserve($"new {i}", 350 * MiB);
                }
                catch (StellaMemoryException e)
                {
                    errors[i] = e;
                }
            })),
        ];
        Array.ForEach(threads, thread => thread.Start());
        Assert.That(threads.All(thread => thread.Join(3 * DeadlockTimeout)), "the two reservations block each other");
        Assert.That(errors, Is.All.Null);
        Assert.That(a.ReleaseRequests, Is.EqualTo(2));
        Assert.That(made.Sum(reservation => reservation!.Bytes), Is.EqualTo(governor.GetStatus().ReservedBytes).And.EqualTo(700 * MiB));
    }

    /// <summary>This is why pools share one governor: a second one could promise memory that the first has reserved.</summary>
    [Test]
    public void A_governor_counts_memory_of_another_governor_only_after_it_is_touched()
    {
        var other = new StellaMemoryGovernor(system.Options with { LimitBytes = 1000 * MiB });
        using MemoryReservation mine = governor.Reserve("mine", 500 * MiB);
        Assert.That(other.GetStatus().AvailableBytes, Is.EqualTo(700 * MiB));
        system.SetProcess(800);
        system.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.That(other.GetStatus().AvailableBytes, Is.EqualTo(200 * MiB));
    }

    private static bool RunsOnOtherThread(Action action)
    {
        Exception? error = null;
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                error = e;
            }
        })
        {
            IsBackground = true,
        };
        thread.Start();
        return thread.Join(DeadlockTimeout) && error is null;
    }
}
