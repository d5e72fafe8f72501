namespace StellaInterop.Soak;

/// <summary>Starts the threads of a pool, or refuses them as the system does at a limit. Thread-safe.</summary>
/// <param name="seed">Where chance begins.</param>
/// <param name="dropsOne">Whether one thread is neither started nor refused: a planted defect.</param>
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

    /// <summary>Gets the number of threads that were refused.</summary>
    public int Refused { get; private set; }

    /// <summary>Refuses all threads, until another setting.</summary>
    public void RefuseAll() => Set(shut: true, 0, 0);

    /// <summary>Refuses no thread.</summary>
    public void Open() => Set(shut: false, 0, 0);

    /// <summary>Refuses one thread in so many, by chance.</summary>
    public void RefuseOneIn(int number) => Set(shut: false, number, 0);

    /// <summary>Refuses the n-th thread from now on.</summary>
    public void RefuseNumber(int number) => Set(shut: false, 0, number);

    /// <summary>Starts a thread, or throws as the runtime does.</summary>
    public void Start(Thread thread)
    {
        lock (gate)
        {
            bool refuses = refusesAll || (refuseOneIn > 0 && random.Next(refuseOneIn) == 0) || (refuseNumber > 0 && --refuseNumber == 0);
            if (refuses)
            {
                Refused++;
#pragma warning disable CA2201 // The runtime throws this type when the system refuses a thread.
                throw new OutOfMemoryException("A thread was refused on purpose.");
#pragma warning restore CA2201
            }

            _ = threads.RemoveAll(one => !one.IsAlive);
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

    /// <summary>Reads a number of workers, and the most worker threads that can have run at that moment.</summary>
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

    /// <summary>Gets the number of threads of the pool that run.</summary>
    public int LiveThreads()
    {
        lock (gate)
        {
            return threads.Count(thread => thread.IsAlive);
        }
    }

    private static bool IsWorker(Thread thread) => thread.Name?.StartsWith(WorkerName, StringComparison.Ordinal) == true;

    private int LiveWorkers() => threads.Count(thread => thread.IsAlive && IsWorker(thread));

    private void Set(bool shut, int oneIn, int number)
    {
        lock (gate)
        {
            refusesAll = shut;
            refuseOneIn = oneIn;
            refuseNumber = number;
        }
    }
}
