using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>Which limit counts, over trees of control groups such as are met, and such as should not be.</summary>
internal sealed class MemoryLimitTests
{
    private const string Machine = "MemAvailable of proc/meminfo";
    private const string None = "9223372036854771712";

    /// <param name="Name">What the tree shows.</param>
    /// <param name="Limit">What must be left, in MiB.</param>
    /// <param name="LimitSource">What must be named; paths are relative to the fake system.</param>
    /// <param name="Files">Names and contents, in turn. In contents, <c>{500}</c> is 500 MiB.</param>
    internal sealed record Case(string Name, long Limit, string LimitSource, params string[] Files)
    {
        public override string ToString() => Name;
    }

    private static readonly Case[] Cases =
    [
        new("no group", 13_000, Machine),
        new("v2", 2000, "cgroup/app/memory.max", "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n"),
        new("v2, the soft limit is lower", 1500, "cgroup/app/memory.high",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.high", "{1500}\n"),
        new("v2, max is no limit", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "max\n", "cgroup/app/memory.high", "max\n"),
        new("v2, beyond the machine is no limit", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{90000}\n"),
        new("v2, beyond every number is no limit", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "99999999999999999999999\n"),
        new("v2, a parent is tighter", 800, "cgroup/a/memory.max",
            "proc/self/cgroup", "0::/a/b/c\n", "cgroup/a/b/c/memory.max", "{3000}\n", "cgroup/a/b/memory.max", "max\n",
            "cgroup/a/memory.max", "{800}\n"),
        new("v2, the child is tighter", 700, "cgroup/a/b/memory.max",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "{700}\n", "cgroup/a/memory.max", "{800}\n"),
        new("v2, the mount itself", 600, "cgroup/memory.max",
            "proc/self/cgroup", "0::/\n", "cgroup/memory.max", "{600}\n"),
        new("v2, a sibling and a child of the group are others' business", 13_000, Machine,
            "proc/self/cgroup", "0::/a\n", "cgroup/a/memory.max", "max\n", "cgroup/b/memory.max", "{1}\n",
            "cgroup/a/c/memory.max", "{1}\n"),
        new("v2, a path with a colon", 500, "cgroup/a:b/memory.max",
            "proc/self/cgroup", "0::/a:b\n", "cgroup/a:b/memory.max", "{500}\n"),
        new("v2, nothing is mounted at the host's path: the mount is the group", 400, "cgroup/memory.max",
            "proc/self/cgroup", "0::/kubepods/pod1/container\n", "cgroup/memory.max", "{400}\n"),
        new("v2, a path that leads out of the namespace", 400, "cgroup/memory.max",
            "proc/self/cgroup", "0::/../neighbour\n", "cgroup/memory.max", "{400}\n", "neighbour/memory.max", "{1}\n"),
        new("v2, an empty limit", 13_000, $"{Machine} (not understood: cgroup/app/memory.max)",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", ""),
        new("v2, garbage, and a parent that makes sense", 900,
            "cgroup/a/memory.max (not understood: cgroup/a/b/memory.max, cgroup/a/b/memory.high)",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "much\n", "cgroup/a/b/memory.high", "-5\n",
            "cgroup/a/memory.max", "{900}\n"),
        new("v2, no space at all", 0, "cgroup/app/memory.max", "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "0\n"),
        new("v2, others in the group, without their page cache", 1300, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n",
            "cgroup/app/memory.stat", "anon_thp {700}\nanon {1400}\nfile {9000}\nshmem {250}\nsock {50}\n"),
        new("v2, others in a parent alone", 1500, "cgroup/a/memory.max",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "{2000}\n", "cgroup/a/b/memory.stat", "anon {1000}\n",
            "cgroup/a/memory.max", "{3000}\n", "cgroup/a/memory.stat", "anon {2500}\n"),
        new("v2, others hold all of it", 0, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon {9000}\n"),
        new("v2, a count that is behind what is measured", 2000, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon {10}\n"),
        new("v2, a count that is garbage", 2000, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon x\nshmem\n\nsock -1"),
        new("v1", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "5:cpu:/\n4:memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("v1, among other controllers", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "4:hugetlb,memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("v1, its largest number is no limit", 13_000, Machine,
            "proc/self/cgroup", "4:memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", None,
            "cgroup/memory/app/memory.stat", $"hierarchical_memory_limit {None}\n"),
        new("v1, a parent is tighter", 800, "cgroup/memory/a/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/a/b\n", "cgroup/memory/a/b/memory.limit_in_bytes", None,
            "cgroup/memory/a/memory.limit_in_bytes", "{800}\n"),
        new("v1, a parent that cannot be seen is tighter", 750, "hierarchical_memory_limit of cgroup/memory/memory.stat",
            "proc/self/cgroup", "4:memory:/docker/1\n", "cgroup/memory/memory.limit_in_bytes", "{900}\n",
            "cgroup/memory/memory.stat", "cache {9000}\nhierarchical_memory_limit {750}\n"),
        new("v1, others in the group and below it, without their page cache", 1200, "cgroup/memory/a/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/a\n", "cgroup/memory/a/memory.limit_in_bytes", "{2000}\n",
            "cgroup/memory/a/memory.stat", "rss {1}\ntotal_cache {9000}\ntotal_rss {1700}\ntotal_rss_huge {500}\ntotal_shmem {100}\n"),
        new("v1, garbage", 13_000, $"{Machine} (not understood: cgroup/memory/memory.limit_in_bytes)",
            "proc/self/cgroup", "4:memory:/\n", "cgroup/memory/memory.limit_in_bytes", "0x10"),
        new("hybrid, memory is v1", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/app\n1:name=systemd:/\n0::/app\n", "cgroup/unified/app/cgroup.procs", "1\n",
            "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("hybrid, memory is v2", 2000, "cgroup/unified/app/memory.max",
            "proc/self/cgroup", "2:cpu:/\n1:name=systemd:/\n0::/app\n", "cgroup/unified/app/memory.max", "{2000}\n"),
        new("a controller whose name only resembles", 13_000, Machine,
            "proc/self/cgroup", "4:memoryx:/app\n1:name=memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{1}\n"),
        new("a group that is told in garbage", 13_000, Machine,
            "proc/self/cgroup", "\n0:\n0::\n0::app\n:::\nx\n4:memory\n\0", "cgroup/memory.max", "{400}\n"),
        new("the machine is full but for this process", 1000, Machine,
            "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 0 kB\n"),
        new("no number for what is available", 16_000, "MemTotal of proc/meminfo", "proc/meminfo", "MemTotal: 16384000 kB\n"),
        new("no number for the machine", 2000, Machine, "proc/meminfo", "MemTotal: kB\nMemAvailable: 1024000 kB\n"),
    ];

    [TestCaseSource(nameof(Cases))]
    public void The_tightest_limit_counts_and_is_named(Case given)
    {
        ArgumentNullException.ThrowIfNull(given);
        using var system = new FakeSystem();
        foreach (string[] file in given.Files.Chunk(2))
        {
            system.Write(file[0], InBytes(file[1]));
        }

        StellaMemoryStatus status = new StellaMemoryGovernor(system.Options).GetStatus();
        string limitedBy = status.LimitSource.Replace(system.PathOf("x")[..^1], string.Empty, StringComparison.Ordinal);
        Assert.That((status.LimitBytes / (double)MiB, limitedBy), Is.EqualTo(((double)given.Limit, given.LimitSource)));
        Assert.That(status.MeasuredBytes, Is.EqualTo(1000 * MiB));
        Assert.That(status.AvailableBytes, Is.EqualTo(Math.Max(0, given.Limit - 1000) * MiB));
    }

    [Test]
    public void The_users_limit_counts_when_it_is_the_tightest_and_is_taken_as_it_is()
    {
        using var system = new FakeSystem();
        StellaMemoryGovernorOptions options = system.Options with { LimitBytes = 1500 * MiB, HeadroomFraction = 0.25 };
        StellaMemoryStatus own = new StellaMemoryGovernor(options).GetStatus();
        StellaMemoryStatus machine = new StellaMemoryGovernor(options with { LimitBytes = 10_000 * MiB }).GetStatus();
        Assert.Multiple(() =>
        {
            Assert.That((own.LimitBytes, own.LimitSource), Is.EqualTo((1500 * MiB, "LimitBytes of the options")));
            Assert.That((machine.LimitBytes, machine.LimitSource[..12]), Is.EqualTo((9000 * MiB, "MemAvailable")));
        });
    }

    [TestCase(10_000, 0.1, 256, 9000, TestName = "The_fraction_is_kept_free_where_it_is_larger")]
    [TestCase(2000, 0.1, 256, 1744, TestName = "The_bytes_are_kept_free_where_they_are_more")]
    [TestCase(300, 0.1, 256, 150, TestName = "No_more_than_half_of_a_small_limit_is_kept_free")]
    [TestCase(1, 0.0, 5000, 0.5, TestName = "No_more_than_half_of_a_tiny_limit_is_kept_free")]
    [TestCase(0, 0.5, 5000, 0, TestName = "Nothing_is_kept_free_of_nothing")]
    public void What_is_kept_free(long limit, double fraction, long bytes, double left)
    {
        using var system = new FakeSystem();
        system.Write("proc/self/cgroup", "0::/\n");
        system.Write("cgroup/memory.max", InBytes($"{{{limit}}}"));
        var governor = new StellaMemoryGovernor(system.Options with { HeadroomFraction = fraction, HeadroomBytes = bytes * MiB });
        Assert.That(governor.GetStatus().LimitBytes, Is.EqualTo((long)(left * MiB)));
    }

    [Test]
    public void A_limit_below_what_is_kept_free_and_used_leaves_nothing_and_says_why()
    {
        using var system = new FakeSystem();
        system.Write("proc/self/cgroup", "0::/\n");
        system.Write("cgroup/memory.max", InBytes("{300}"));
        var governor = new StellaMemoryGovernor(system.Options with { HeadroomFraction = 0.1, HeadroomBytes = 256 * MiB });
        Assert.That(governor.GetStatus().AvailableBytes, Is.Zero);
        var error = Assert.Throws<StellaMemoryException>(() => governor.Reserve("tiny", 1));
        Assert.That(
            error!.Message,
            Does.Contain($"{system.PathOf("cgroup")}/memory.max sets a limit of 300.0 MiB, of which 150.0 MiB are kept free")
                .And.Contain("the process uses 1000.0 MiB"));
    }

    [Test]
    public void A_system_without_these_files_is_asked_through_the_runtime()
    {
        using var system = new FakeSystem();
        system.Delete("proc/meminfo");
        system.Delete("proc/self/status");
        StellaMemoryStatus status = new StellaMemoryGovernor(system.Options).GetStatus();
        Assert.Multiple(() =>
        {
            Assert.That(status.LimitSource, Is.EqualTo("GCMemoryInfo.TotalAvailableMemoryBytes"));
            Assert.That(status.LimitBytes, Is.EqualTo(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes));
            Assert.That(status.MeasuredBytes, Is.Positive);
        });
    }

    [Test]
    public void This_machine_has_a_limit_and_this_process_uses_memory()
    {
        StellaMemoryStatus status = new StellaMemoryGovernor().GetStatus();
        TestContext.Out.WriteLine(status);
        Assert.Multiple(() =>
        {
            Assert.That(status.MeasuredBytes, Is.InRange(MiB, Environment.WorkingSet));
            Assert.That(status.LimitBytes, Is.GreaterThan(0));
            Assert.That(status.AvailableBytes, Is.InRange(0, status.LimitBytes));
            Assert.That(status.LimitSource, Is.Not.Empty);
        });
    }

    [Test]
    public unsafe void What_this_process_touches_is_measured()
    {
        const int Length = 64 << 20;
        var governor = new StellaMemoryGovernor();
        using MemoryReservation before = governor.Reserve("before", 0);
        long start = governor.GetStatus().MeasuredBytes;
        // So large that the allocator takes it from the system, and gives it back there.
        void* memory = System.Runtime.InteropServices.NativeMemory.Alloc(Length);
        new Span<byte>(memory, Length).Fill(1);
        using MemoryReservation after = governor.Reserve("after", 0);
        long end = governor.GetStatus().MeasuredBytes;
        System.Runtime.InteropServices.NativeMemory.Free(memory);
        // Half, for the collector may give back meanwhile what other tests left.
        Assert.That(end - start, Is.GreaterThan(Length / 2));
    }

    [Test]
    public void Pools_that_name_no_governor_share_one()
    {
        using var reservation = StellaMemoryGovernor.Shared.Reserve("shared", 1);
        Assert.That(StellaMemoryGovernor.Shared.GetStatus().Owners, Does.Contain(new StellaMemoryOwner { Name = "shared", Bytes = 1 }));
    }

    [Test]
    public void Options_that_make_no_sense_are_refused_by_name()
    {
        var good = new StellaMemoryGovernorOptions();
        Assert.Multiple(() =>
        {
            Refused(good with { LimitBytes = 0 }, "LimitBytes");
            Refused(good with { HeadroomFraction = -0.01 }, "HeadroomFraction");
            Refused(good with { HeadroomFraction = 0.51 }, "HeadroomFraction");
            Refused(good with { HeadroomFraction = double.NaN }, "HeadroomFraction");
            Refused(good with { HeadroomBytes = -1 }, "HeadroomBytes");
            Assert.That(() => new StellaMemoryGovernor(good with { CgroupRoot = "" }), Throws.ArgumentException);
            Assert.That(() => new StellaMemoryGovernor(good with { ProcRoot = "" }), Throws.ArgumentException);
        });

        static void Refused(StellaMemoryGovernorOptions options, string name) => Assert.That(
            () => new StellaMemoryGovernor(options),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Property("ParamName").EqualTo(name).And.Message.Contains("must be"));
    }

    private static string InBytes(string text) => System.Text.RegularExpressions.Regex.Replace(
        text, @"\{(\d+)\}", match => $"{long.Parse(match.Groups[1].Value) * MiB}");
}
