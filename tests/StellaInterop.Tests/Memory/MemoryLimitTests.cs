using System.Diagnostics;
using StellaInterop.Memory;
using StellaInterop.Tests.Serving;
using static StellaInterop.Tests.Memory.FakeSystem;

namespace StellaInterop.Tests.Memory;

/// <summary>The limit of the budget for valid and invalid trees of cgroup files.</summary>
internal sealed class MemoryLimitTests
{
    private const string Machine = "MemAvailable of proc/meminfo";
    private const string NoLimitV1 = "9223372036854771712";

    /// <summary>A tree of files and the limit that it should have.</summary>
    /// <param name="Name">The name of the case.</param>
    /// <param name="Limit">The expected limit in MiB.</param>
    /// <param name="LimitSource">The expected source of the limit. Paths are relative to the fake system.</param>
    /// <param name="Files">Alternating names and contents. In contents, <c>{500}</c> is 500 MiB in bytes.</param>
    internal sealed record LimitCase(string Name, long Limit, string LimitSource, params string[] Files)
    {
        public override string ToString() => Name;
    }

    private static readonly LimitCase[] Cases =
    [
        new("no cgroup", 13_000, Machine),
        new("v2", 2000, "cgroup/app/memory.max", "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n"),
        new("v2, the soft limit is lower", 1500, "cgroup/app/memory.high",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.high", "{1500}\n"),
        new("v2, max means no limit", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "max\n", "cgroup/app/memory.high", "max\n"),
        new("v2, a limit above the memory of the machine", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{90000}\n"),
        new("v2, a limit above 64 bits", 13_000, Machine,
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "99999999999999999999999\n"),
        new("v2, a parent is tighter", 800, "cgroup/a/memory.max",
            "proc/self/cgroup", "0::/a/b/c\n", "cgroup/a/b/c/memory.max", "{3000}\n", "cgroup/a/b/memory.max", "max\n",
            "cgroup/a/memory.max", "{800}\n"),
        new("v2, the child is tighter", 700, "cgroup/a/b/memory.max",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "{700}\n", "cgroup/a/memory.max", "{800}\n"),
        new("v2, the process is in the root cgroup", 600, "cgroup/memory.max",
            "proc/self/cgroup", "0::/\n", "cgroup/memory.max", "{600}\n"),
        new("v2, limits of a sibling and of a child do not apply", 13_000, Machine,
            "proc/self/cgroup", "0::/a\n", "cgroup/a/memory.max", "max\n", "cgroup/b/memory.max", "{1}\n",
            "cgroup/a/c/memory.max", "{1}\n"),
        new("v2, a path with a colon", 500, "cgroup/a:b/memory.max",
            "proc/self/cgroup", "0::/a:b\n", "cgroup/a:b/memory.max", "{500}\n"),
        new("v2, the path of the host is not mounted: the mount is the cgroup", 400, "cgroup/memory.max",
            "proc/self/cgroup", "0::/kubepods/pod1/container\n", "cgroup/memory.max", "{400}\n"),
        new("v2, a path outside the namespace", 400, "cgroup/memory.max",
            "proc/self/cgroup", "0::/../neighbour\n", "cgroup/memory.max", "{400}\n", "neighbour/memory.max", "{1}\n"),
        new("v2, an empty limit", 13_000, $"{Machine} (not understood: cgroup/app/memory.max)",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", ""),
        new("v2, invalid limits and a valid parent", 900,
            "cgroup/a/memory.max (not understood: cgroup/a/b/memory.max, cgroup/a/b/memory.high)",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "much\n", "cgroup/a/b/memory.high", "-5\n",
            "cgroup/a/memory.max", "{900}\n"),
        new("v2, a limit of zero", 0, "cgroup/app/memory.max", "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "0\n"),
        new("v2, other processes in the cgroup, without their page cache", 1300, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n",
            "cgroup/app/memory.stat", "anon_thp {700}\nanon {1400}\nfile {9000}\nshmem {250}\nsock {50}\n"),
        new("v2, other processes in the parent only", 1500, "cgroup/a/memory.max",
            "proc/self/cgroup", "0::/a/b\n", "cgroup/a/b/memory.max", "{2000}\n", "cgroup/a/b/memory.stat", "anon {1000}\n",
            "cgroup/a/memory.max", "{3000}\n", "cgroup/a/memory.stat", "anon {2500}\n"),
        new("v2, other processes use the whole limit", 0, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon {9000}\n"),
        new("v2, a usage below the measured usage of the process", 2000, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon {10}\n"),
        new("v2, an invalid usage", 2000, "cgroup/app/memory.max",
            "proc/self/cgroup", "0::/app\n", "cgroup/app/memory.max", "{2000}\n", "cgroup/app/memory.stat", "anon x\nshmem\n\nsock -1"),
        new("v1", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "5:cpu:/\n4:memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("v1, memory with another controller", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "4:hugetlb,memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("v1, the largest number means no limit", 13_000, Machine,
            "proc/self/cgroup", "4:memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", NoLimitV1,
            "cgroup/memory/app/memory.stat", $"hierarchical_memory_limit {NoLimitV1}\n"),
        new("v1, a parent is tighter", 800, "cgroup/memory/a/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/a/b\n", "cgroup/memory/a/b/memory.limit_in_bytes", NoLimitV1,
            "cgroup/memory/a/memory.limit_in_bytes", "{800}\n"),
        new("v1, an invisible parent is tighter", 750, "hierarchical_memory_limit of cgroup/memory/memory.stat",
            "proc/self/cgroup", "4:memory:/docker/1\n", "cgroup/memory/memory.limit_in_bytes", "{900}\n",
            "cgroup/memory/memory.stat", "cache {9000}\nhierarchical_memory_limit {750}\n"),
        new("v1, other processes in the cgroup and its children, without their page cache", 1200, "cgroup/memory/a/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/a\n", "cgroup/memory/a/memory.limit_in_bytes", "{2000}\n",
            "cgroup/memory/a/memory.stat", "rss {1}\ntotal_cache {9000}\ntotal_rss {1700}\ntotal_rss_huge {500}\ntotal_shmem {100}\n"),
        new("v1, an invalid limit", 13_000, $"{Machine} (not understood: cgroup/memory/memory.limit_in_bytes)",
            "proc/self/cgroup", "4:memory:/\n", "cgroup/memory/memory.limit_in_bytes", "0x10"),
        new("hybrid, memory is v1", 2000, "cgroup/memory/app/memory.limit_in_bytes",
            "proc/self/cgroup", "4:memory:/app\n1:name=systemd:/\n0::/app\n", "cgroup/unified/app/cgroup.procs", "1\n",
            "cgroup/memory/app/memory.limit_in_bytes", "{2000}\n"),
        new("hybrid, memory is v2", 2000, "cgroup/unified/app/memory.max",
            "proc/self/cgroup", "2:cpu:/\n1:name=systemd:/\n0::/app\n", "cgroup/unified/app/memory.max", "{2000}\n"),
        new("a controller with a similar name", 13_000, Machine,
            "proc/self/cgroup", "4:memoryx:/app\n1:name=memory:/app\n", "cgroup/memory/app/memory.limit_in_bytes", "{1}\n"),
        new("an invalid cgroup file", 13_000, Machine,
            "proc/self/cgroup", "\n0:\n0::\n0::app\n:::\nx\n4:memory\n\0", "cgroup/memory.max", "{400}\n"),
        new("only this process has memory", 1000, Machine,
            "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 0 kB\n"),
        new("MemAvailable is missing", 16_000, "MemTotal of proc/meminfo", "proc/meminfo", "MemTotal: 16384000 kB\n"),
        new("MemTotal has no number", 2000, Machine, "proc/meminfo", "MemTotal: kB\nMemAvailable: 1024000 kB\n"),
    ];

    [TestCaseSource(nameof(Cases))]
    [Platform("Linux", Reason = "Other systems have no control groups, and other separators in their paths.")]
    public void The_tightest_limit_counts_and_is_named(LimitCase tree)
    {
        ArgumentNullException.ThrowIfNull(tree);
        using var system = new FakeSystem();
        foreach (string[] file in tree.Files.Chunk(2))
        {
            system.Write(file[0], InBytes(file[1]));
        }

        StellaMemoryStatus status = new StellaMemoryGovernor(system.Options).GetStatus();
        string limitedBy = status.LimitSource.Replace(system.PathOf("x")[..^1], string.Empty, StringComparison.Ordinal);
        Assert.That((status.LimitBytes / (double)MiB, limitedBy), Is.EqualTo(((double)tree.Limit, tree.LimitSource)));
        Assert.That(status.MeasuredBytes, Is.EqualTo(1000 * MiB));
        Assert.That(status.AvailableBytes, Is.EqualTo(Math.Max(0, tree.Limit - 1000) * MiB));
    }

    [Test]
    public void LimitBytes_applies_without_headroom_when_it_is_the_tightest_limit()
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

    [TestCase(10_000, 0.1, 256, 9000, TestName = "The_headroom_fraction_applies_when_it_is_larger")]
    [TestCase(2000, 0.1, 256, 1744, TestName = "The_headroom_bytes_apply_when_they_are_larger")]
    [TestCase(300, 0.1, 256, 150, TestName = "The_headroom_is_at_most_half_of_a_small_limit")]
    [TestCase(1, 0.0, 5000, 0.5, TestName = "The_headroom_is_at_most_half_of_a_tiny_limit")]
    [TestCase(0, 0.5, 5000, 0, TestName = "A_limit_of_zero_has_no_headroom")]
    public void Headroom_is_the_larger_of_fraction_and_bytes_and_at_most_half_of_the_limit(long limit, double fraction, long bytes, double left)
    {
        using var system = new FakeSystem();
        system.Write("proc/self/cgroup", "0::/\n");
        system.Write("cgroup/memory.max", InBytes($"{{{limit}}}"));
        var governor = new StellaMemoryGovernor(system.Options with { HeadroomFraction = fraction, HeadroomBytes = bytes * MiB });
        Assert.That(governor.GetStatus().LimitBytes, Is.EqualTo((long)(left * MiB)));
    }

    [Test]
    [Platform("Linux", Reason = "Other systems have no control groups, and other separators in their paths.")]
    public void A_limit_below_headroom_and_usage_leaves_nothing_available_and_the_error_tells_why()
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
    public void The_runtime_reports_limit_and_usage_if_the_proc_files_are_missing()
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
        using var process = Process.GetCurrentProcess();
        // Windows measures the working set, which may shrink until it is read here.
        long largest = OperatingSystem.IsWindows() ? process.PeakWorkingSet64 : Environment.WorkingSet;
        TestContext.Out.WriteLine(status);
        Assert.Multiple(() =>
        {
            Assert.That(status.MeasuredBytes, Is.InRange(MiB, largest));
            Assert.That(status.LimitBytes, Is.GreaterThan(0));
            Assert.That(status.AvailableBytes, Is.InRange(0, status.LimitBytes));
            // A Windows machine may have a folder /proc on its drive, which anyone can create.
            string[] ofLinux = ["/proc/", "cgroup"];
            Assert.That(ofLinux.Any(part => status.LimitSource.Contains(part, StringComparison.Ordinal)), Is.EqualTo(OperatingSystem.IsLinux()), status.LimitSource);
        });
    }

    [Test]
    public unsafe void Memory_touched_by_this_process_is_measured()
    {
        const int Length = 64 << 20;
        var governor = new StellaMemoryGovernor();
        using MemoryReservation before = governor.Reserve("before", 0);
        long start = governor.GetStatus().MeasuredBytes;
        // Large enough that the allocator maps it from the system and unmaps it afterwards.
        void* memory = System.Runtime.InteropServices.NativeMemory.Alloc(Length);
        new Span<byte>(memory, Length).Fill(1);
        using MemoryReservation after = governor.Reserve("after", 0);
        long end = governor.GetStatus().MeasuredBytes;
        System.Runtime.InteropServices.NativeMemory.Free(memory);
        // Half of the length, because the garbage collector may return memory of other tests meanwhile.
        Assert.That(end - start, Is.GreaterThan(Length / 2));
    }

    [Test]
    public void A_reservation_of_the_shared_governor_is_listed_in_its_status()
    {
        using var reservation = StellaMemoryGovernor.Shared.Reserve("shared", 1);
        Assert.That(StellaMemoryGovernor.Shared.GetStatus().Owners, Does.Contain(new StellaMemoryOwner { Name = "shared", Bytes = 1 }));
    }

    [Test]
    public void Invalid_governor_options_are_refused_by_name()
    {
        var valid = new StellaMemoryGovernorOptions();
        Assert.Multiple(() =>
        {
            AssertRefused(valid with { LimitBytes = 0 }, "LimitBytes");
            AssertRefused(valid with { HeadroomFraction = -0.01 }, "HeadroomFraction");
            AssertRefused(valid with { HeadroomFraction = 0.51 }, "HeadroomFraction");
            AssertRefused(valid with { HeadroomFraction = double.NaN }, "HeadroomFraction");
            AssertRefused(valid with { HeadroomBytes = -1 }, "HeadroomBytes");
            Assert.That(() => new StellaMemoryGovernor(valid with { CgroupRoot = "" }), Throws.ArgumentException);
            Assert.That(() => new StellaMemoryGovernor(valid with { ProcRoot = "" }), Throws.ArgumentException);
        });

        static void AssertRefused(StellaMemoryGovernorOptions options, string name) => Assert.That(
            () => new StellaMemoryGovernor(options),
            Throws.TypeOf<ArgumentOutOfRangeException>().With.Property("ParamName").EqualTo(name).And.Message.Contains("must be"));
    }

    private static string InBytes(string text) => System.Text.RegularExpressions.Regex.Replace(
        text, @"\{(\d+)\}", match => $"{long.Parse(match.Groups[1].Value) * MiB}");
}
