using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Bulk.Tests.Commit;

/// <summary>The end of a process by a signal.</summary>
internal sealed class ProcessKilled : Exception;

/// <summary>A process on a thread that runs one operation of its folder at a time, when the test says so.</summary>
#pragma warning disable CA1001 // A semaphore without a wait handle has nothing to free.
internal sealed class SimulatedProcess
#pragma warning restore CA1001
{
    private readonly SemaphoreSlim go = new(0);
    private readonly SemaphoreSlim back = new(0);
    private bool isKilled;

    /// <param name="run">The program. It calls its argument before each operation.</param>
    public SimulatedProcess(Action<Action<string>> run)
    {
        var thread = new Thread(() =>
        {
            try
            {
                run(Step);
            }
            catch (Exception e)
            {
                Error = e;
            }

            IsDone = true;
            back.Release();
        });
        thread.Start();
        back.Wait();
    }

    public bool IsDone { get; private set; }

    public Exception? Error { get; private set; }

    /// <summary>Whether the next write finds the disk full.</summary>
    public bool IsDiskFull { get; set; }

    /// <summary>Runs operations, until the process waits before another one or ends.</summary>
    public void Run(int steps)
    {
        for (; steps > 0 && !IsDone; steps--)
        {
            go.Release();
            back.Wait();
        }
    }

    public void RunToEnd() => Run(int.MaxValue);

    public void Kill()
    {
        isKilled = true;
        RunToEnd();
    }

    private void Step(string operation)
    {
        back.Release();
        go.Wait();
        if (isKilled)
        {
            throw new ProcessKilled();
        }

        if (IsDiskFull && operation == "write")
        {
            IsDiskFull = false;
            throw new IOException("No space left on device", OutputErrors.NoSpace);
        }
    }
}
