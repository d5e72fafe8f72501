namespace StellaInterop.Bench.Terminal;

/// <summary>Writes progress to standard error, so that standard output has the figures only.</summary>
internal static class Progress
{
    public static void Log(string message) => Console.Error.WriteLine($"{DateTime.UtcNow:HH:mm:ss} {message}");
}
