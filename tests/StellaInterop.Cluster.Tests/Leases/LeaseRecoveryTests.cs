using CsCheck;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Cluster.Tests.Leases;

/// <summary>Runs a job of a cluster under random schedules of everything that may happen to its processes.</summary>
/// <remarks>
/// Workers and coordinators run one operation of the folder at a time. They are killed, or stopped until their leases have ended and run again
/// then. Two coordinators give leases at once, nodes join and leave, clocks jump, disks are full, the power fails, and a row ends each process
/// that computes it. In the end each id is there once, with the vector of its text or among the rows at fault.
/// </remarks>
internal sealed class LeaseRecoveryTests
{
    /// <summary>The number of known schedules. CsCheck has the number of new ones: 100, or the variable <c>CsCheck_Iter</c>.</summary>
    private const int KnownRuns = 300;

    /// <summary>The number of runs in which the loss of a safeguard must show.</summary>
    private const int MutationRuns = 1000;

    private const int MaxEvents = 120;
    private const int MaxSteps = 60;

    /// <summary>The rounds of the last worker after which a job counts as endless.</summary>
    private const int MaxRounds = 400;

    private const int LateRounds = 30;

    private static readonly (int Frequency, Event What)[] Frequencies =
    [
        (24, Event.RunWorker),
        (16, Event.RunCoordinator),
        (3, Event.RunStopped),
        (2, Event.KillWorker),
        (1, Event.KillCoordinator),
        (2, Event.StopWorker),
        (2, Event.Wait),
        (1, Event.Jump),
        (1, Event.LosePower),
        (1, Event.FillDisk),
        (1, Event.Leave),
    ];

    private static readonly Gen<Schedule> Schedules = Gen.Select(
        Gen.Select(Gen.Frequency([.. Frequencies.Select(pair => (pair.Frequency, (IGen<Event>)Gen.Const(pair.What)))]), Gen.Int[0, 2], Gen.Int[1, MaxSteps]).Array[1, MaxEvents],
        Gen.Int[1, 3],
        Gen.Bool,
        (events, chunkAttempts, poisonEndsProcess) => new Schedule(events, chunkAttempts, poisonEndsProcess));

    private enum Event
    {
        RunWorker,
        RunCoordinator,
        RunStopped,
        KillWorker,
        KillCoordinator,
        StopWorker,
        Wait,
        Jump,
        LosePower,
        FillDisk,
        Leave,
    }

    [Test]
    public void Every_id_is_there_once_with_its_vector_whatever_happens() => Schedules.Sample(
        schedule => Assert.That(Violation(schedule, Safeguards.All), Is.Null), threads: 1, print: schedule => schedule.ToString());

    [Test]
    public void Every_id_is_there_once_with_its_vector_in_known_schedules()
    {
        for (int seed = 1; seed <= KnownRuns; seed++)
        {
            Assert.That(Violation(RandomSchedule(new Random(seed)), Safeguards.All), Is.Null, $"seed {seed}");
        }
    }

    [TestCase(Safeguards.PutIfAbsent)]
    [TestCase(Safeguards.Epoch)]
    [TestCase(Safeguards.AttemptCount)]
    [TestCase(Safeguards.FlushOrder)]
    [TestCase(Safeguards.Fingerprint)]
    public void The_loss_of_a_safeguard_is_noticed(Safeguards lost)
    {
        string? violation = null;
        int seed = 0;
        while (violation is null && seed < MutationRuns)
        {
            violation = Violation(RandomSchedule(new Random(++seed)), Safeguards.All & ~lost);
        }

        Assert.That(violation, Is.Not.Null, $"{MutationRuns} runs without {lost} went well.");
        TestContext.Out.WriteLine($"Seed {seed}: {violation}");
    }

    private static Schedule RandomSchedule(Random random)
    {
        Event[] kinds = [.. Frequencies.SelectMany(pair => Enumerable.Repeat(pair.What, pair.Frequency))];
        return new Schedule(
            [.. Enumerable.Range(0, random.Next(1, MaxEvents)).Select(_ => (kinds[random.Next(kinds.Length)], random.Next(3), random.Next(1, MaxSteps + 1)))],
            random.Next(1, 4),
            random.Next(2) == 0);
    }

    /// <summary>Runs a schedule, then one worker with a new coordinator to the end of the job, then all processes that were stopped meanwhile.</summary>
    /// <returns>The first rule that does not hold; <see langword="null"/> if all do.</returns>
    private static string? Violation(Schedule schedule, Safeguards safeguards)
    {
        using var world = new ClusterWorld(safeguards, schedule.ChunkAttempts, schedule.PoisonEndsProcess);
        var rules = new OutputRules(world);
        foreach ((Event what, int which, int amount) in schedule.Events)
        {
            Run(world, what, which, amount);
            if ((world.FirstError() ?? (world.IsComplete ? rules.Violation() : null)) is { } violation)
            {
                return violation;
            }
        }

        bool hasEnded = world.RunLast(MaxRounds);
        if ((world.FirstError() ?? (hasEnded ? rules.Violation() : "The job has no end.")) is { } broken)
        {
            return broken;
        }

        world.RunLate(LateRounds);
        return world.FirstError() ?? rules.Violation();
    }

    private static void Run(ClusterWorld world, Event what, int which, int amount)
    {
        bool isOdd = amount % 2 == 1;
        switch (what)
        {
            case Event.RunWorker:
                // Few nodes have another model.
                world.RunWorker(which, amount, model: amount % 9 == 1 ? 1 : 0);
                break;
            case Event.RunCoordinator:
                world.RunCoordinator(which % 2, amount);
                break;
            case Event.RunStopped:
                world.RunStopped(amount, amount);
                break;
            case Event.KillWorker:
                world.KillWorker(which, isNoticed: isOdd);
                break;
            case Event.KillCoordinator:
                world.KillCoordinator(which % 2);
                break;
            case Event.StopWorker:
                world.StopWorker(which, isNoticed: isOdd);
                break;
            case Event.Wait:
                world.Wait();
                break;
            case Event.Jump:
                world.Jump(TimeSpan.FromSeconds(amount));
                break;
            case Event.LosePower:
                world.LosePower(amount);
                break;
            case Event.FillDisk:
                world.FillDisk(which, ofCoordinator: isOdd);
                break;
            default:
                world.Leave(which);
                break;
        }
    }

    private sealed record Schedule((Event What, int Which, int Amount)[] Events, int ChunkAttempts, bool PoisonEndsProcess)
    {
        public override string ToString() => $"{ChunkAttempts} attempts, poison ends process: {PoisonEndsProcess}, {string.Join(' ', Events)}";
    }
}
