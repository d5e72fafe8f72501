using System.Collections.Concurrent;
using CsCheck;
using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>What holds for any numbers, and for any order in which threads come.</summary>
internal sealed class MemoryGovernorPropertyTests
{
    private static readonly Gen<ulong> AnyNumber = Gen.OneOf(
        Gen.Const(0UL), Gen.ULong[1, 100], Gen.ULong[1, 1UL << 40], Gen.ULong, Gen.Const((ulong)long.MaxValue), Gen.Const(ulong.MaxValue));

    private static readonly Gen<long> AnySize = Gen.OneOf(
        Gen.Const(0L), Gen.Long[1, 100], Gen.Long[1, 1L << 40], Gen.Long[0, long.MaxValue], Gen.Const(long.MaxValue));

    [Test]
    public void Budget_arithmetic_does_not_overflow_for_any_values_of_system_and_callers()
    {
        using var system = new FakeSystem();
        system.Write("proc/self/cgroup", "4:memory:/\n0::/\n");
        Gen.Select(AnyNumber.Array[9], AnySize.Array[1, 6], Gen.Double[0, 0.5], AnySize).Sample(
            (numbers, sizes, fraction, reserve) =>
            {
                system.Write("proc/meminfo", $"MemTotal: {numbers[0]} kB\nMemAvailable: {numbers[1]} kB\n");
                system.Write("proc/self/status", $"RssAnon: {numbers[2]} kB\n");
                system.Write("cgroup/memory.max", $"{numbers[3]}");
                system.Write("cgroup/memory.high", $"{numbers[4]}");
                system.Write("cgroup/memory.stat", $"anon {numbers[5]}\nshmem {numbers[6]}\n");
                system.Write("cgroup/memory/memory.limit_in_bytes", $"{numbers[7]}");
                system.Write("cgroup/memory/memory.stat", $"total_rss {numbers[8]}\nhierarchical_memory_limit {numbers[7]}\n");
                var governor = new StellaMemoryGovernor(system.Options with { HeadroomFraction = fraction, HeadroomBytes = reserve });
                var made = new List<MemoryReservation>();
                foreach (long size in sizes)
                {
                    StellaMemoryStatus before = governor.GetStatus();
                    bool fits;
                    try
                    {
                        made.Add(governor.Reserve("any", size));
                        fits = true;
                    }
                    catch (StellaMemoryException)
                    {
                        fits = false;
                    }

                    StellaMemoryStatus after = governor.GetStatus();
                    Assert.That(fits, Is.EqualTo(size <= before.AvailableBytes));
                    Assert.That(after.LimitBytes, Is.InRange(0L, (long)Math.Min(long.MaxValue, Math.Min(numbers[3], numbers[4]))));
                    Assert.That(after.AvailableBytes, Is.EqualTo(fits ? before.AvailableBytes - size : before.AvailableBytes));
                    Assert.That((UInt128)after.AvailableBytes + (UInt128)after.ReservedBytes, Is.LessThanOrEqualTo((UInt128)after.LimitBytes));
                }

                foreach (MemoryReservation one in made)
                {
                    one.Resize(sizes[0]);
                    Assert.That(governor.GetStatus().AvailableBytes, Is.InRange(0, governor.GetStatus().LimitBytes));
                }

                made.ForEach(one => one.Dispose());
                Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
            },
            iter: 1000,
            threads: 1);
    }

    /// <summary>An operation of a thread: which of its reservations, what to do with it, and how large.</summary>
    private static readonly Gen<(int Place, int What, long MiBs)[]> Program =
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 4], Gen.Long[0, 150]).Array[1, 30];

    [Test]
    public void Concurrent_reservations_never_exceed_the_limit_and_are_all_returned()
    {
        using var system = new FakeSystem();
        // So that what is reserved and what is available are all there is.
        system.Process(0);
        Program.Array[2, 4].Sample(
            programs =>
            {
                var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = 500 * MiB });
                var holders = new ConcurrentBag<IdleHolder>();
                var failures = new ConcurrentQueue<string>();
                var live = new ConcurrentBag<MemoryReservation>();
                using var start = new Barrier(programs.Length);
                Thread[] threads = [.. programs.Select((program, number) => new Thread(() =>
                {
                    start.SignalAndWait();
                    Run(governor, program, number, holders, live, failures);
                }))];
                Array.ForEach(threads, thread => thread.Start());
                Array.ForEach(threads, thread => thread.Join());

                long held = live.Sum(one => one.Bytes) + holders.Sum(one => one.IdleBytes);
                Assert.That(failures, Is.Empty);
                Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(held).And.EqualTo(governor.GetStatus().Owners.Sum(one => one.Bytes)));
                Assert.That(held, Is.LessThanOrEqualTo(500 * MiB));
                foreach (IDisposable one in live.Cast<IDisposable>().Concat(holders))
                {
                    one.Dispose();
                }

                StellaMemoryStatus end = governor.GetStatus();
                Assert.That((end.ReservedBytes, end.AvailableBytes, end.Owners.Count), Is.EqualTo((0L, 500 * MiB, 0)));
            },
            iter: 200,
            threads: 1);
    }

    private static void Run(
        StellaMemoryGovernor governor,
        (int Place, int What, long MiBs)[] program,
        int number,
        ConcurrentBag<IdleHolder> holders,
        ConcurrentBag<MemoryReservation> live,
        ConcurrentQueue<string> failures)
    {
        var own = new MemoryReservation?[4];
        foreach ((int place, int what, long size) in program)
        {
            try
            {
                switch (what)
                {
                    case 0 or 1:
                        own[place]?.Dispose();
                        own[place] = null;
                        own[place] = governor.Reserve($"{number}/{place}", size * MiB);
                        break;
                    case 2:
                        // What loading took beside the weights goes back: never more than was there.
                        own[place]?.Resize(own[place]!.Bytes / 2);
                        break;
                    case 3:
                        own[place]?.Dispose();
                        own[place]?.Dispose();
                        own[place] = null;
                        break;
                    default:
                        holders.Add(new IdleHolder(governor, $"idle of {number}", size * MiB, idleSince: size));
                        break;
                }
            }
            catch (StellaMemoryException e) when (e.RequestedBytes == size * MiB)
            {
                // Full, which is an answer.
            }
#pragma warning disable CA1031 // Whatever it is, the test must fail by it and not end the process.
            catch (Exception e)
#pragma warning restore CA1031
            {
                failures.Enqueue(e.ToString());
                break;
            }

            StellaMemoryStatus status = governor.GetStatus();
            if (status.ReservedBytes > 500 * MiB
                || status.ReservedBytes != status.Owners.Sum(one => one.Bytes)
                || status.AvailableBytes + status.ReservedBytes != 500 * MiB)
            {
                failures.Enqueue($"after {what} of {size}: {status}");
            }
        }

        foreach (MemoryReservation one in own.OfType<MemoryReservation>())
        {
            live.Add(one);
        }
    }

    [Test]
    public void Threads_that_reserve_until_refused_get_the_whole_limit_and_no_more()
    {
        using var system = new FakeSystem();
        system.Process(0);
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = 1000 * MiB });
        var made = new ConcurrentBag<MemoryReservation>();
        using var start = new Barrier(8);
        Thread[] threads = [.. Enumerable.Range(0, 8).Select(number => new Thread(() =>
        {
            start.SignalAndWait();
            try
            {
                while (true)
                {
                    made.Add(governor.Reserve($"thread {number}", 9 * MiB));
                }
            }
            catch (StellaMemoryException)
            {
                // Full.
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That((made.Count, governor.GetStatus().AvailableBytes), Is.EqualTo((111, 1 * MiB)));
    }
}
