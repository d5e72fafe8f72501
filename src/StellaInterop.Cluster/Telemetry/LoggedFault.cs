namespace StellaInterop.Cluster.Telemetry;

/// <summary>Logs a fault that comes again and again only once, until it is over or one of another type comes. Thread-safe.</summary>
/// <param name="log">Logs the message of a fault.</param>
internal sealed class LoggedFault(Action<string> log)
{
    private Type? logged;

    public void Begin(Exception fault)
    {
        if (Interlocked.Exchange(ref logged, fault.GetType()) != fault.GetType())
        {
            log(fault.Message);
        }
    }

    public void End() => Volatile.Write(ref logged, null);
}
