namespace StellaInterop.Soak.FaultInjection;

/// <summary>Starts the threads of a pool, or refuses them as the system does at its limit. Thread-safe.</summary>
/// <param name="seed">Seed of the random numbers.</param>
/// <param name="dropsOne">Whether one thread is neither started nor refused. This is a planted defect.</param>
internal sealed class ThreadGate(int seed, bool dropsOne)
{
    private const string WorkerName = "stella worker";

    private readonly Lock gate = new();
    private readonly Random random = new(seed);
    private readonly List<Thread> threads = [];
    private bool hasDropped;
    private long started;
    private bool refusesAll;
    private int refuseOneIn;
    private int refuseNumber;

    /// <summary>Gets the number of refused threads.</summary>
    public int Refused { get; private set; }

    /// <summary>Refuses all threads until the next change.</summary>
    public void RefuseAll() => Set(refuseAll: true, 0, 0);

    /// <summary>Refuses no thread.</summary>
    public void RefuseNone() => Set(refuseAll: false, 0, 0);

    /// <summary>Refuses threads at random, one in <paramref name="number"/> on average.</summary>
    public void RefuseOneIn(int number) => Set(refuseAll: false, number, 0);

    /// <summary>Refuses the n-th thread from now on.</summary>
    public void RefuseNumber(int number) => Set(refuseAll: false, 0, number);

    /// <summary>Starts a thread, or throws the error of the runtime for a refused thread.</summary>
    public void Start(Thread thread)
    {
        lock (gate)
        {
            bool isRefused = refusesAll || (refuseOneIn > 0 && random.Next(refuseOneIn) == 0) || (refuseNumber > 0 && --refuseNumber == 0);
            if (isRefused)
            {
                Refused++;
#pragma warning disable CA2201 // The runtime throws this type when the system refuses a thread.
                throw new OutOfMemoryException("An injected refusal of a thread.");
#pragma warning restore CA2201
            }

            _ = threads.RemoveAll(other => !other.IsAlive);
            if (dropsOne && !hasDropped && IsWorker(thread) && threads.Exists(IsWorker))
            {
                hasDropped = true;
                return;
            }

            thread.UnsafeStart();
            threads.Add(thread);
            started += IsWorker(thread) ? 1 : 0;
        }
    }

    /// <summary>Reads the pool's number of workers, and the largest number of worker threads that can have run at that moment.</summary>
    public (int Counted, int Running) Compare(Func<int> count)
    {
        int before;
        long startedBefore;
        lock (gate)
        {
            before = LiveWorkers();
            startedBefore = started;
        }

        int counted = count();
        lock (gate)
        {
            return (counted, before + (int)(started - startedBefore));
        }
    }

    /// <summary>Returns the number of running threads of the pool.</summary>
    public int LiveThreads()
    {
        lock (gate)
        {
            return threads.Count(thread => thread.IsAlive);
        }
    }

    private static bool IsWorker(Thread thread) => thread.Name?.StartsWith(WorkerName, StringComparison.Ordinal) == true;

    private int LiveWorkers() => threads.Count(thread => thread.IsAlive && IsWorker(thread));

    private void Set(bool refuseAll, int oneIn, int number)
    {
        lock (gate)
        {
            refusesAll = refuseAll;
            refuseOneIn = oneIn;
            refuseNumber = number;
        }
    }
}
