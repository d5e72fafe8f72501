namespace StellaInterop.Bench;

/// <summary>What is being done, on standard error: the figures alone are on standard output.</summary>
internal static class Progress
{
    public static void Say(string what) => Console.Error.WriteLine($"{DateTime.UtcNow:HH:mm:ss} {what}");
}
