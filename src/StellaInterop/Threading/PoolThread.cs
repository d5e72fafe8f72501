namespace StellaInterop.Threading;

/// <summary>A thread that a pool owns, for a worker or a load. All threads of a pool start here.</summary>
/// <remarks>
/// The thread runs without the execution context of whoever starts it, because it outlives the request that needed it. An
/// error that leaves its body ends here and is reported; it never ends the process.
/// </remarks>
internal sealed class PoolThread
{
    private readonly Thread thread;
    private readonly Signal ended = new();
    private readonly Signal excused = new();

    /// <param name="name">Name of the thread in debuggers.</param>
    /// <param name="body">The work of the thread.</param>
    /// <param name="failed">Told of an error that left <paramref name="body"/>. Must not throw.</param>
    public PoolThread(string name, Action body, Action<Exception> failed)
    {
        thread = new Thread(() => Run(body, failed)) { IsBackground = true, Name = name };
    }

    /// <summary>Whether the thread has run to its end.</summary>
    public bool HasEnded => ended.IsSet;

    /// <summary>Whether the thread has run to its end, or was excused.</summary>
    public bool IsGone => ended.IsSet || excused.IsSet;

    /// <summary>Whether the calling code runs on this thread.</summary>
    public bool IsCurrent => thread == Thread.CurrentThread;

    /// <summary>Starts the thread.</summary>
    /// <param name="start">Starts it: the system, or a test that refuses.</param>
    /// <exception cref="StellaThreadException">The system refused it. The thread never runs.</exception>
    public void Start(Action<Thread> start)
    {
        try
        {
            start(thread);
        }
#pragma warning disable CA1031 // Whatever the reason is, there is no thread.
        catch (Exception e)
#pragma warning restore CA1031
        {
            throw new StellaThreadException(
                $"The system refused the thread '{thread.Name}'. The process or its container is at a limit on threads: raise it, or use fewer workers and fewer threads for each.",
                e);
        }
    }

    /// <summary>Waits until the thread has run to its end.</summary>
    public Task WaitEndedAsync() => ended.WaitAsync();

    /// <summary>Waits until the thread has run to its end, or was excused.</summary>
    public Task WaitGoneAsync() => Task.WhenAny(ended.WaitAsync(), excused.WaitAsync());

    /// <summary>Releases all who wait for this thread: foreign code on it is about to wait for them.</summary>
    public void Excuse() => excused.Set();

    private void Run(Action body, Action<Exception> failed)
    {
        try
        {
            body();
        }
#pragma warning disable CA1031 // The outermost catch: beyond it is the end of the process.
        catch (Exception e)
#pragma warning restore CA1031
        {
            failed(e);
        }
        finally
        {
            ended.Set();
        }
    }
}
