using StellaInterop.Load.Overload;

namespace StellaInterop.Bench.Tests;

public class OverloadVerdictTests
{
    private static readonly Outcome Vectors = new(200, IsComplete: true, HasRetryHeaders: false, Milliseconds: 30, RefusalMilliseconds: null);
    private static readonly Outcome Refusal = new(429, IsComplete: true, HasRetryHeaders: true, Milliseconds: 9, RefusalMilliseconds: 4);

    private static OverloadRecord Good { get; } = new()
    {
        CapacityPerSecond = 10,
        OfferedPerSecond = 100,
        Bulk = [.. Enumerable.Repeat(Vectors, 100), .. Enumerable.Repeat(Refusal, 300)],
        Interactive = [.. Enumerable.Repeat(Vectors, 20)],
        Idle = [.. Enumerable.Repeat(Vectors with { Milliseconds = 5 }, 20)],
        BatchMilliseconds = 20,
        ResidentBytes = [.. Enumerable.Repeat(100L, 100)],
        ExitCode = 0,
    };

    [Test]
    public void A_run_at_its_limits_fails_no_check() => Assert.That(Failing(Good), Is.Empty);

    [Test]
    public void Each_broken_promise_fails_its_check()
    {
        Assert.Multiple(() =>
        {
            Assert.That(Failing(Good with { OfferedPerSecond = 99 }), Is.EqualTo(new[] { Verdict.Offered }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, default] }), Is.EqualTo(new[] { Verdict.Answered }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, Refusal with { HasRetryHeaders = false }] }), Is.EqualTo(new[] { Verdict.Kept }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, Refusal with { IsComplete = false }] }), Is.EqualTo(new[] { Verdict.Kept }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, Vectors with { IsComplete = false }] }), Is.EqualTo(new[] { Verdict.Kept }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, Vectors with { Status = 500 }] }), Is.EqualTo(new[] { Verdict.Kept }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk.Take(299)] }), Is.EqualTo(new[] { Verdict.Refused }));
            Assert.That(Failing(Good with { Bulk = [.. Good.Bulk, .. Enumerable.Repeat(Refusal with { RefusalMilliseconds = 21 }, 5)] }), Is.EqualTo(new[] { Verdict.RefusalTime }));
            Assert.That(Failing(Good with { ResidentBytes = [.. Enumerable.Range(0, 100).Select(i => 100L + i)] }), Is.EqualTo(new[] { Verdict.Memory }));
            Assert.That(Failing(Good with { BatchMilliseconds = 14 }), Is.EqualTo(new[] { Verdict.Interactive }));
            Assert.That(Failing(Good with { Interactive = [.. Good.Interactive, Refusal] }), Is.EqualTo(new[] { Verdict.InteractiveKept }));
            Assert.That(Failing(Good with { ExitCode = 137 }), Is.EqualTo(new[] { Verdict.Exit }));
        });
    }

    [Test]
    public void A_run_without_measurements_proves_nothing()
    {
        OverloadRecord empty = Good with { Bulk = [], Interactive = [], Idle = [], ResidentBytes = [] };
        Assert.That(
            Failing(empty),
            Is.EqualTo(new[] { Verdict.Refused, Verdict.RefusalTime, Verdict.Memory, Verdict.Interactive, Verdict.InteractiveKept }));
    }

    [Test]
    public void Growth_in_the_first_half_and_the_size_of_one_sample_do_not_count()
    {
        long[] samples = [.. Enumerable.Range(0, 50).Select(i => (long)i * 1000), .. Enumerable.Repeat(50_000L, 50)];
        Assert.That(Verdict.Growth(samples), Is.Zero);
        samples[75] = 1_000_000;
        Assert.That(Verdict.Growth(samples), Is.Zero);
        Assert.That(Verdict.Growth([.. Enumerable.Repeat(100L, 90), .. Enumerable.Repeat(110L, 10)]), Is.EqualTo(0.1).Within(1e-9));
    }

    private static string[] Failing(OverloadRecord record) => [.. Verdict.Of(record).Where(check => !check.Holds).Select(check => check.Name)];
}
