using StellaInterop.Chaos.Faults;

namespace StellaInterop.Bench.Tests;

public class FaultPlanTests
{
    private static readonly TimeSpan Short = TimeSpan.FromSeconds(60);

    [Test]
    public void Equal_seeds_have_equal_plans()
    {
        IReadOnlyList<PlannedFault> first = FaultPlan.Create(7, Short, Enum.GetValues<FaultKind>());
        IReadOnlyList<PlannedFault> second = FaultPlan.Create(7, Short, Enum.GetValues<FaultKind>());
        Assert.That(second, Is.EqualTo(first));
    }

    [Test]
    public void Every_plan_has_each_kind_and_ends_in_its_time([Range(1, 20)] int seed)
    {
        IReadOnlyList<PlannedFault> plan = FaultPlan.Create(seed, Short, Enum.GetValues<FaultKind>());
        Assert.Multiple(() =>
        {
            Assert.That(plan.Select(fault => fault.Kind).Distinct(), Is.EquivalentTo(Enum.GetValues<FaultKind>()));
            Assert.That(plan.Select(fault => fault.At + fault.Length), Is.All.LessThanOrEqualTo(Short));
            Assert.That(plan, Is.Ordered.By(nameof(PlannedFault.At)));
        });
    }

    [Test]
    public void Faults_of_one_target_do_not_overlap([Range(1, 20)] int seed)
    {
        IEnumerable<IGrouping<int, PlannedFault>> targets = FaultPlan.Create(seed, TimeSpan.FromMinutes(3), Enum.GetValues<FaultKind>()).GroupBy(fault => fault.Target);
        Assert.That(targets.All(faults => faults.Zip(faults.Skip(1)).All(pair => pair.First.At + pair.First.Length <= pair.Second.At)), Is.True);
    }
}
