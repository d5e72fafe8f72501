namespace StellaInterop.Tests.Serving;

/// <summary>Waits for conditions that other threads bring about. The timeout only ends a test that fails.</summary>
internal static class Eventually
{
    public static TimeSpan Timeout { get; } = TimeSpan.FromSeconds(60);

    public static void IsSet(ManualResetEventSlim signal) => Assert.That(signal.Wait(Timeout), "the signal was not set in time");

    /// <summary>Polls a condition until it is true.</summary>
    /// <param name="condition">The condition.</param>
    /// <param name="expected">The condition in words, for the message of the failure.</param>
    public static async Task IsTrueAsync(Func<bool> condition, string expected)
    {
        using var timeout = new CancellationTokenSource(Timeout);
        while (!condition())
        {
            Assert.That(timeout.IsCancellationRequested, Is.False, $"Timed out. Expected: {expected}");
            await Task.Delay(1);
        }
    }
}
