using System.Collections.Concurrent;
using CsCheck;
using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>Properties of the memory budget for random values and for concurrent threads.</summary>
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
                var reservations = new List<MemoryReservation>();
                foreach (long size in sizes)
                {
                    StellaMemoryStatus before = governor.GetStatus();
                    bool fits;
                    try
                    {
                        reservations.Add(governor.Reserve("any", size));
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

                foreach (MemoryReservation reservation in reservations)
                {
                    reservation.Resize(sizes[0]);
                    Assert.That(governor.GetStatus().AvailableBytes, Is.InRange(0, governor.GetStatus().LimitBytes));
                }

                reservations.ForEach(reservation => reservation.Dispose());
                Assert.That(governor.GetStatus().ReservedBytes, Is.Zero);
            },
            iter: 1000,
            threads: 1);
    }

    /// <summary>The operations of a thread: the slot of the reservation, the operation, and the size in MiB.</summary>
    private static readonly Gen<(int Slot, int Operation, long MiBs)[]> Program =
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 4], Gen.Long[0, 150]).Array[1, 30];

    [Test]
    public void Concurrent_reservations_never_exceed_the_limit_and_are_all_returned()
    {
        using var system = new FakeSystem();
        // The process uses no memory, so that reserved and available bytes add up to the limit.
        system.SetProcess(0);
        Program.Array[2, 4].Sample(
            programs =>
            {
                var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = 500 * MiB });
                var idle = new ConcurrentBag<FakeIdleMemory>();
                var failures = new ConcurrentQueue<string>();
                var live = new ConcurrentBag<MemoryReservation>();
                using var start = new Barrier(programs.Length);
                Thread[] threads = [.. programs.Select((program, number) => new Thread(() =>
                {
                    start.SignalAndWait();
                    Run(governor, program, number, idle, live, failures);
                }))];
                Array.ForEach(threads, thread => thread.Start());
                Array.ForEach(threads, thread => thread.Join());

                long held = live.Sum(reservation => reservation.Bytes) + idle.Sum(owner => owner.IdleBytes);
                Assert.That(failures, Is.Empty);
                Assert.That(governor.GetStatus().ReservedBytes, Is.EqualTo(held).And.EqualTo(governor.GetStatus().Owners.Sum(owner => owner.Bytes)));
                Assert.That(held, Is.LessThanOrEqualTo(500 * MiB));
                foreach (IDisposable owner in live.Cast<IDisposable>().Concat(idle))
                {
                    owner.Dispose();
                }

                StellaMemoryStatus end = governor.GetStatus();
                Assert.That((end.ReservedBytes, end.AvailableBytes, end.Owners.Count), Is.EqualTo((0L, 500 * MiB, 0)));
            },
            iter: 200,
            threads: 1);
    }

    private static void Run(
        StellaMemoryGovernor governor,
        (int Slot, int Operation, long MiBs)[] program,
        int number,
        ConcurrentBag<FakeIdleMemory> idle,
        ConcurrentBag<MemoryReservation> live,
        ConcurrentQueue<string> failures)
    {
        var own = new MemoryReservation?[4];
        foreach ((int slot, int operation, long size) in program)
        {
            try
            {
                switch (operation)
                {
                    case 0 or 1:
                        own[slot]?.Dispose();
                        own[slot] = null;
                        own[slot] = governor.Reserve($"{number}/{slot}", size * MiB);
                        break;
                    case 2:
                        // After a load, a reservation shrinks by the memory that only the load needed. It never grows here.
                        own[slot]?.Resize(own[slot]!.Bytes / 2);
                        break;
                    case 3:
                        own[slot]?.Dispose();
                        own[slot]?.Dispose();
                        own[slot] = null;
                        break;
                    default:
                        idle.Add(new FakeIdleMemory(governor, $"idle of {number}", size * MiB, idleSince: size));
                        break;
                }
            }
            catch (StellaMemoryException e) when (e.RequestedBytes == size * MiB)
            {
                // The budget is full, which is a valid answer.
            }
#pragma warning disable CA1031 // Any error has to fail the test instead of ending the process.
            catch (Exception e)
#pragma warning restore CA1031
            {
                failures.Enqueue(e.ToString());
                break;
            }

            StellaMemoryStatus status = governor.GetStatus();
            if (status.ReservedBytes > 500 * MiB
                || status.ReservedBytes != status.Owners.Sum(owner => owner.Bytes)
                || status.AvailableBytes + status.ReservedBytes != 500 * MiB)
            {
                failures.Enqueue($"after operation {operation} of {size}: {status}");
            }
        }

        foreach (MemoryReservation reservation in own.OfType<MemoryReservation>())
        {
            live.Add(reservation);
        }
    }

    [Test]
    public void Threads_that_reserve_until_refused_get_the_whole_limit_and_no_more()
    {
        using var system = new FakeSystem();
        system.SetProcess(0);
        var governor = new StellaMemoryGovernor(system.Options with { LimitBytes = 1000 * MiB });
        var reservations = new ConcurrentBag<MemoryReservation>();
        using var start = new Barrier(8);
        Thread[] threads = [.. Enumerable.Range(0, 8).Select(number => new Thread(() =>
        {
            start.SignalAndWait();
            try
            {
                while (true)
                {
                    reservations.Add(governor.Reserve($"thread {number}", 9 * MiB));
                }
            }
            catch (StellaMemoryException)
            {
                // The budget is full.
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That((reservations.Count, governor.GetStatus().AvailableBytes), Is.EqualTo((111, 1 * MiB)));
    }
}
