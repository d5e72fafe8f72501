using StellaInterop.Threading;

namespace StellaInterop.Tests.Threading;

/// <summary>The lock order of the pool: a thread takes only locks of a higher rank than the locks it holds. Debug builds assert it.</summary>
internal sealed class LockOrderTests
{
    private static readonly LockRank[] Ranks = Enum.GetValues<LockRank>();

    [TestCase(new LockRank[] { }, LockRank.Closing, ExpectedResult = true)]
    [TestCase(new LockRank[] { }, LockRank.OpenCalls, ExpectedResult = true)]
    [TestCase(new[] { LockRank.Closing }, LockRank.Lifetime, ExpectedResult = true)]
    [TestCase(new[] { LockRank.Closing, LockRank.Queue }, LockRank.Call, ExpectedResult = true)]
    [TestCase(new[] { LockRank.Queue }, LockRank.Queue, ExpectedResult = false)]
    [TestCase(new[] { LockRank.Call }, LockRank.Queue, ExpectedResult = false)]
    [TestCase(new[] { LockRank.Closing, LockRank.OpenCalls }, LockRank.Call, ExpectedResult = false)]
    public bool A_rank_is_higher_only_if_it_exceeds_every_held_rank(LockRank[] held, LockRank rank) => LockOrder.IsHigher(Bits(held), rank);

    [Test]
    public void IsHigher_agrees_with_a_comparison_of_ranks_for_all_sets_of_held_ranks()
    {
        for (int set = 0; set < 1 << Ranks.Length; set++)
        {
            LockRank[] held = [.. Ranks.Where((_, i) => (set >> i & 1) != 0)];
            foreach (LockRank rank in Ranks)
            {
                Assert.That(
                    LockOrder.IsHigher(Bits(held), rank), Is.EqualTo(held.All(other => other < rank)), $"{rank} under {string.Join(", ", held)}");
            }
        }
    }

#if DEBUG
    [Test]
    public void A_lock_of_a_lower_or_the_same_rank_fails_an_assertion([ValueSource(nameof(Ranks))] LockRank held, [ValueSource(nameof(Ranks))] LockRank rank)
    {
        var outer = new RankedLock(held);
        var inner = new RankedLock(rank);
        void nest()
        {
            using (outer.Enter())
            {
                using (inner.Enter())
                {
                }
            }
        }

        Assert.That(nest, rank > held ? Throws.Nothing : Throws.Exception.With.Message.Contains($"The lock of rank {rank}"));
        Assert.That(() => Take(inner), Throws.Nothing, "the failed attempt left no rank behind");
        Assert.That(() => Take(outer), Throws.Nothing, "the outer lock is free");
    }

    [Test]
    public void A_rank_held_by_another_thread_does_not_count()
    {
        var call = new RankedLock(LockRank.Call);
        using (call.Enter())
        {
            Task other = Task.Run(() => Take(new RankedLock(LockRank.Queue)));
            Assert.That(other.Wait(Serving.Eventually.Timeout));
        }
    }

    private static void Take(RankedLock gate)
    {
        using (gate.Enter())
        {
        }
    }
#endif

    private static int Bits(IEnumerable<LockRank> ranks) => ranks.Aggregate(0, (bits, rank) => bits | 1 << (int)rank);
}
