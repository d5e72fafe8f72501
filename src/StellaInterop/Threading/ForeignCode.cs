namespace StellaInterop.Threading;

/// <summary>Runs code of the host (loggers, meter listeners, clocks) whose failure must not become a failure of the pool.</summary>
internal static class ForeignCode
{
    /// <summary>Runs an action and ignores its exception.</summary>
    public static void Run(Action action)
    {
        try
        {
            action();
        }
#pragma warning disable CA1031 // The host's code may throw anything, and no caller of the pool can act on it.
        catch
#pragma warning restore CA1031
        {
        }
    }
}
