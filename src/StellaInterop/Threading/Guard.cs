namespace StellaInterop.Threading;

/// <summary>Runs foreign code (loggers, meter listeners, clocks) where its failure must not become the pool's.</summary>
internal static class Guard
{
    /// <summary>Runs an action. An error of it is nobody's.</summary>
    public static void Run(Action foreign)
    {
        try
        {
            foreign();
        }
#pragma warning disable CA1031 // See above.
        catch
#pragma warning restore CA1031
        {
        }
    }
}
