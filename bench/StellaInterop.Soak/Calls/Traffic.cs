using StellaInterop.Soak.FaultInjection;

namespace StellaInterop.Soak.Calls;

/// <summary>The calls that one caller makes in a loop.</summary>
internal sealed record Traffic
{
    /// <summary>Gets the maximum number of texts in a call. The minimum is 1.</summary>
    public int Texts { get; init; } = 1;

    /// <summary>Gets the average number of calls of which one is cancelled within some milliseconds; 0 for none.</summary>
    public int CancelOneIn { get; init; }

    /// <summary>Gets the average number of calls of which one has a timeout of some milliseconds; 0 for none.</summary>
    public int ShortTimeoutOneIn { get; init; }

    /// <summary>Gets whether calls report failed texts instead of failing.</summary>
    public bool Report { get; init; }

    /// <summary>Gets whether calls vary in dimension, prompt, priority and queue mode.</summary>
    public bool Mixed { get; init; }

    /// <summary>Gets the pause between two calls.</summary>
    public TimeSpan Pause { get; init; }

    /// <summary>Gets whether a call that does not complete breaks a promise.</summary>
    public bool MustComplete { get; init; }

    /// <summary>Gets a function that returns whether the error of a failed call is expected.</summary>
    public Func<StellaException, bool> IsExpectedError { get; init; } = static error => error.InnerException is StellaException { Message: Poison.Panic };
}
