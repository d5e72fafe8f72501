using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>What is given away, what comes back, and who must go when there is no room. Numbers are in MiB.</summary>
internal sealed class MemoryGovernorTests
{
    /// <summary>So long that only what waits for ever is cut short by it.</summary>
    private static readonly TimeSpan ForEver = TimeSpan.FromSeconds(30);

    private FakeSystem system = null!;
    private StellaMemoryGovernor governor = null!;

    /// <summary>A process that uses 300 of 1000.</summary>
    [SetUp]
    public void Begin()
    {
        system = new FakeSystem();
        system.Process(300);
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
    public void Memory_counts_once_from_the_promise_to_the_end()
    {
        Assert.That(Available, Is.EqualTo(700), "nothing is reserved");
        MemoryReservation model = governor.Reserve("model", 500 * MiB);
        Assert.That(Available, Is.EqualTo(200), "reserved, not touched");
        system.Process(550);
        Assert.That(Available, Is.EqualTo(200), "half touched");
        system.Process(800);
        Assert.That(Available, Is.EqualTo(200), "all touched");
        model.Resize(500 * MiB);
        Assert.That(Available, Is.EqualTo(200), "said to be taken");
        system.Process(750);
        model.Resize(450 * MiB);
        Assert.That(Available, Is.EqualTo(250), "what loading took is given back");
        system.Process(900);
        Assert.That(Available, Is.EqualTo(100), "managed memory grew");
        system.Process(500);
        Assert.That(Available, Is.EqualTo(500), "managed memory was collected");
        MemoryReservation worker = governor.Reserve("worker", 300 * MiB);
        Assert.That(Available, Is.EqualTo(200), "a second promise beside what is taken");
        system.Process(700);
        Assert.That(Available, Is.EqualTo(200), "that is partly touched");
        worker.Dispose();
        model.Dispose();
        system.Process(60);
        Assert.That(Available, Is.EqualTo(940), "all given back");
    }

    [Test]
    public void Managed_memory_that_grows_while_a_model_is_loaded_counts_as_far_as_it_must_be_its_own()
    {
        using MemoryReservation model = governor.Reserve("model", 400 * MiB);
        system.Process(850);
        Assert.That(Available, Is.EqualTo(150), "at least 450 are not the model's");
        system.Process(100);
        Assert.That(Available, Is.EqualTo(500), "at most 100 are not the model's");
    }

    [Test]
    public void What_is_taken_outside_of_pools_counts()
    {
        system.Process(990);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("model", 11 * MiB));
        Assert.That(error!.AvailableBytes, Is.EqualTo(10 * MiB));
    }

    [Test]
    public void Growth_is_told_even_where_there_is_no_room()
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
    public void A_reservation_gives_back_once_however_often_and_wherever_it_is_disposed()
    {
        using MemoryReservation stays = governor.Reserve("twin", 100 * MiB);
        MemoryReservation goes = governor.Reserve("twin", 100 * MiB);
        Parallel.For(0, 16, _ => goes.Dispose());
        Assert.Multiple(() =>
        {
            Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(100 * MiB));
            Assert.That((stays.Bytes, goes.Bytes), Is.EqualTo((100 * MiB, 0L)));
            Assert.That(() => goes.Resize(1), Throws.TypeOf<ObjectDisposedException>());
            Assert.That(() => stays.Resize(-1), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => governor.Reserve("x", -1), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => governor.Reserve("", 1), Throws.ArgumentException);
        });
    }

    /// <summary>The ancestor's probe reserved twice what it asked for, and never gave it back.</summary>
    [Test]
    public void What_was_refused_leaves_nothing_behind()
    {
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("two", 701 * MiB));
        using MemoryReservation one = governor.Reserve("one", 700 * MiB);
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(700 * MiB));
    }

    [Test]
    public void A_refusal_names_who_asked_what_is_there_what_limits_it_and_what_helps()
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
    public void The_status_lists_who_holds_what_the_largest_first()
    {
        using MemoryReservation small = governor.Reserve("small", 10 * MiB);
        using MemoryReservation a = governor.Reserve("large", 20 * MiB);
        using MemoryReservation b = governor.Reserve("large", 30 * MiB);
        Assert.That(governor.GetStatus().Owners, Is.EqualTo(new StellaMemoryOwner[] { new() { Name = "large", Bytes = 50 * MiB }, new() { Name = "small", Bytes = 10 * MiB } }));
    }

    [Test]
    public void The_status_reads_once_a_second_and_a_reservation_each_time()
    {
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(300 * MiB));
        system.Process(800);
        system.Time.Advance(TimeSpan.FromSeconds(0.999));
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(300 * MiB));
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("model", 500 * MiB));
        system.Time.Advance(TimeSpan.FromSeconds(0.001));
        Assert.That(governor.GetStatus().MeasuredBytes, Is.EqualTo(800 * MiB));
    }

    [Test]
    public void A_status_after_a_load_does_not_rest_on_a_reading_from_before_it()
    {
        using MemoryReservation model = governor.Reserve("model", 500 * MiB);
        system.Process(800);
        model.Resize(500 * MiB);
        Assert.That(governor.GetStatus().AvailableBytes, Is.EqualTo(200 * MiB));
    }

    [Test]
    public async Task The_status_does_not_wait_for_a_reservation_that_reads()
    {
        _ = governor.GetStatus();
        using var reading = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        int reserving = -1;
        system.Time.OnTimestamp = () =>
        {
            if (Environment.CurrentManagedThreadId == Volatile.Read(ref reserving))
            {
                reading.Release();
                goOn.Wait();
            }
        };
        Task<MemoryReservation> reservation = Task.Run(() =>
        {
            Volatile.Write(ref reserving, Environment.CurrentManagedThreadId);
            MemoryReservation made = governor.Reserve("slow", MiB);
            Volatile.Write(ref reserving, -1);
            return made;
        });
        await reading.WaitAsync();
        // On a thread of its own: the reservation's may be the thread pool's last.
        Task<StellaMemoryStatus> status = Task.Factory.StartNew(
            governor.GetStatus, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        bool came = await Task.WhenAny(status, Task.Delay(ForEver)) == status;
        goOn.Release();
        (await reservation).Dispose();
        Assert.That(came, "the status waited for the reservation");
        Assert.That((await status).ReservedBytes, Is.Zero);
    }

    [Test]
    public void The_least_recently_used_go_first_and_no_more_than_must()
    {
        using var newest = new IdleHolder(governor, "newest", 200 * MiB, idleSince: 30);
        using var busy = new IdleHolder(governor, "busy", 100 * MiB, idleSince: null);
        using var oldest = new IdleHolder(governor, "oldest", 200 * MiB, idleSince: 10);
        using var middle = new IdleHolder(governor, "middle", 200 * MiB, idleSince: 20);
        using MemoryReservation made = governor.Reserve("new", 350 * MiB);
        Assert.That(
            new[] { oldest, middle, newest, busy }.Select(holder => holder.Released),
            Is.EqualTo(new[] { true, true, false, false }));
        Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(650 * MiB));
    }

    [Test]
    public void Nobody_goes_while_there_is_room()
    {
        using var idle = new IdleHolder(governor, "idle", 300 * MiB, idleSince: 1);
        using MemoryReservation made = governor.Reserve("new", 400 * MiB);
        Assert.That(idle.Asked, Is.Zero);
    }

    [Test]
    public void Nobody_goes_in_vain()
    {
        using var idle = new IdleHolder(governor, "idle", 300 * MiB, idleSince: 1);
        using var busy = new IdleHolder(governor, "busy", 300 * MiB, idleSince: null);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 401 * MiB));
        Assert.That((idle.Asked, busy.Asked, idle.Released), Is.EqualTo((0, 0, false)));
        Assert.That(error!.Message, Does.Contain("Unloading all idle models would free 300.0 MiB."));
        using MemoryReservation fits = governor.Reserve("new", 400 * MiB);
        Assert.That((idle.Released, busy.Released), Is.EqualTo((true, false)));
    }

    /// <summary>Where more is used than allowed, room has to be made for the excess too.</summary>
    [Test]
    public void Nobody_goes_in_vain_where_the_limit_is_passed()
    {
        using var idle = new IdleHolder(governor, "idle", 300 * MiB, idleSince: 1);
        using MemoryReservation grown = governor.Reserve("grown", 100 * MiB);
        system.Process(1200);
        grown.Resize(900 * MiB);
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 1 * MiB));
        Assert.That(idle.Asked, Is.Zero);
    }

    [Test]
    public void Who_refuses_is_asked_once_and_the_next_is_asked_instead()
    {
        using var stubborn = new IdleHolder(governor, "stubborn", 300 * MiB, idleSince: 1) { OnRelease = () => false };
        using var willing = new IdleHolder(governor, "willing", 300 * MiB, idleSince: 2);
        using (MemoryReservation made = governor.Reserve("new", 300 * MiB))
        {
            Assert.That((stubborn.Asked, willing.Released), Is.EqualTo((1, true)));
        }

        using MemoryReservation rest = governor.Reserve("rest", 400 * MiB);
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("more", 300 * MiB));
        Assert.That(stubborn.Asked, Is.EqualTo(2));
    }

    [Test]
    public void Who_is_used_while_room_is_made_stays()
    {
        using var second = new IdleHolder(governor, "second", 200 * MiB, idleSince: 2);
        using var third = new IdleHolder(governor, "third", 200 * MiB, idleSince: 3);
        using var first = new IdleHolder(governor, "first", 200 * MiB, idleSince: 1)
        {
            OnRelease = () =>
            {
                second.Use();
                return true;
            },
        };
        using MemoryReservation made = governor.Reserve("new", 400 * MiB);
        Assert.That((first.Released, second.Asked, third.Released), Is.EqualTo((true, 0, true)));
    }

    [Test]
    public void Who_is_no_longer_registered_is_not_asked()
    {
        using var gone = new IdleHolder(governor, "gone", 300 * MiB, idleSince: 1);
        IDisposable twice = governor.Register(gone);
        gone.Unregister();
        twice.Dispose();
        twice.Dispose();
        Assert.Throws<StellaMemoryException>(() => governor.Reserve("new", 500 * MiB));
        Assert.That(gone.Asked, Is.Zero);
    }

    [Test]
    public void Who_lets_go_may_call_the_governor_from_any_thread()
    {
        using var idle = new IdleHolder(governor, "idle", 600 * MiB, idleSince: 1);
        idle.OnRelease = () => Finishes(() =>
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
    public void A_clock_that_fails_or_calls_back_harms_no_reservation()
    {
        int inside = 0;
        system.Time.OnTimestamp = () =>
        {
            if (Interlocked.Exchange(ref inside, 1) == 0)
            {
                _ = Finishes(() => governor.Reserve("nested", 50 * MiB).Dispose());
                throw new InvalidOperationException("a clock");
            }
        };
        governor.Reserve("new", 300 * MiB).Dispose();
        inside = 0;
        Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
        Assert.That(inside, Is.EqualTo(1));
    }

    [Test]
    public void Two_that_make_room_at_once_both_end()
    {
        using var a = new IdleHolder(governor, "a", 300 * MiB, idleSince: 1);
        using var b = new IdleHolder(governor, "b", 300 * MiB, idleSince: 2);
        // Each lets go only after the other reservation has come as far as to ask too.
        using var both = new Barrier(2);
        a.OnRelease = () => both.SignalAndWait(ForEver);
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
        Assert.That(threads.All(thread => thread.Join(3 * ForEver)), "they wait for each other");
        Assert.That(errors, Is.All.Null);
        Assert.That(a.Asked, Is.EqualTo(2));
        Assert.That(made.Sum(one => one!.Bytes), Is.EqualTo(governor.GetStatus().ReservedBytes).And.EqualTo(700 * MiB));
    }

    /// <summary>Why pools share one: each would give away the whole of what the others have not touched yet.</summary>
    [Test]
    public void Governors_see_what_the_others_have_taken_only_when_it_is_touched()
    {
        var other = new StellaMemoryGovernor(system.Options with { LimitBytes = 1000 * MiB });
        using MemoryReservation mine = governor.Reserve("mine", 500 * MiB);
        Assert.That(other.GetStatus().AvailableBytes, Is.EqualTo(700 * MiB));
        system.Process(800);
        system.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.That(other.GetStatus().AvailableBytes, Is.EqualTo(200 * MiB));
    }

    private static bool Finishes(Action action)
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
        return thread.Join(ForEver) && error is null;
    }
}
