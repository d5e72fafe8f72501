namespace StellaInterop.Threading;

/// <summary>A thread of a pool, for a worker or a load. All threads of a pool start here.</summary>
/// <remarks>
/// The thread runs without the execution context of the code that starts it, because it outlives the request that needed it. An unhandled
/// exception of its body is reported and never ends the process.
/// </remarks>
internal sealed class PoolThread
{
    private readonly Thread thread;
    private readonly Signal ended = new();
    private readonly Signal excused = new();

    /// <param name="name">The name of the thread in debuggers.</param>
    /// <param name="body">The work of the thread.</param>
    /// <param name="failed">Receives an unhandled exception of <paramref name="body"/>. Must not throw.</param>
    public PoolThread(string name, Action body, Action<Exception> failed)
    {
        thread = new Thread(() => Run(body, failed)) { IsBackground = true, Name = name };
    }

    /// <summary>Gets whether the thread has ended.</summary>
    public bool HasEnded => ended.IsSet;

    /// <summary>Gets whether the thread has ended or was excused, so that no code has to wait for it.</summary>
    public bool IsGone => ended.IsSet || excused.IsSet;

    /// <summary>Gets whether the calling code runs on this thread.</summary>
    public bool IsCurrent => thread == Thread.CurrentThread;

    /// <summary>Starts the thread.</summary>
    /// <param name="start">Starts the thread. Tests pass a delegate that refuses.</param>
    /// <exception cref="StellaThreadException">The system refused the thread, which then never runs.</exception>
    public void Start(Action<Thread> start)
    {
        try
        {
            start(thread);
        }
#pragma warning disable CA1031 // Whatever the reason, the thread did not start.
        catch (Exception e)
#pragma warning restore CA1031
        {
            throw new StellaThreadException(
                $"The system refused the thread '{thread.Name}'. The process or its container is at a limit on threads: raise it, or use fewer workers and fewer threads for each.",
                e);
        }
    }

    /// <summary>Waits until the thread has ended.</summary>
    public Task WaitEndedAsync() => ended.WaitAsync();

    /// <summary>Waits until the thread has ended or was excused.</summary>
    public Task WaitGoneAsync() => Task.WhenAny(ended.WaitAsync(), excused.WaitAsync());

    /// <summary>Ends every wait for this thread, because foreign code on it is about to wait for the waiting code itself.</summary>
    public void Excuse() => excused.Set();

    private void Run(Action body, Action<Exception> failed)
    {
        try
        {
            body();
        }
#pragma warning disable CA1031 // The outermost catch: an exception that passes it ends the process.
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
