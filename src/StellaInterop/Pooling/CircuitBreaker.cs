namespace StellaInterop.Pooling;

internal enum BreakerState
{
    /// <summary>Calls go through.</summary>
    Closed,

    /// <summary>Calls are refused until the pause is over.</summary>
    Open,

    /// <summary>A few calls at a time are let through, and what becomes of them decides.</summary>
    HalfOpen,
}

/// <summary>
/// Refuses calls while the model fails: after failures in a row, or when workers had to be replaced too often. What counts is
/// what forwards and loads come to; a text that is at fault by itself says nothing about the model. Thread-safe.
/// </summary>
internal sealed class CircuitBreaker(StellaPoolOptions options, Action<BreakerState, string> changed)
{
    private readonly Lock gate = new();
    private readonly Queue<long> replacements = [];
    private readonly TimeProvider time = options.TimeProvider;

    private BreakerState state;
    private int failures;
    private int probes;
    private long openedAt;
    private string reason = string.Empty;
    private Exception? lastFailure;

    public (BreakerState State, string Reason) State
    {
        get
        {
            lock (gate)
            {
                return (Current(), reason);
            }
        }
    }

    /// <summary>Lets a call through or not.</summary>
    /// <returns>Whether it is a probe, which says when it has ended.</returns>
    /// <exception cref="StellaCircuitOpenException">Calls are refused.</exception>
    public bool Enter()
    {
        lock (gate)
        {
            switch (Current())
            {
                case BreakerState.Closed:
                    return false;
                case BreakerState.HalfOpen when probes < options.BreakerProbes:
                    state = BreakerState.HalfOpen;
                    probes++;
                    return true;
                default:
                    TimeSpan left = options.BreakerPause - time.GetElapsedTime(openedAt);
                    throw new StellaCircuitOpenException(
                        reason, left > TimeSpan.Zero ? left : options.BreakerPause, lastFailure);
            }
        }
    }

    /// <summary>A probe has ended.</summary>
    public void ProbeEnded()
    {
        lock (gate)
        {
            probes--;
        }
    }

    /// <summary>A forward or a load went well.</summary>
    public void Succeeded()
    {
        lock (gate)
        {
            failures = 0;
            if (Current() != BreakerState.HalfOpen)
            {
                return;
            }

            state = BreakerState.Closed;
            replacements.Clear();
            reason = string.Empty;
            lastFailure = null;
        }

        changed(BreakerState.Closed, string.Empty);
    }

    /// <summary>A forward or a load failed.</summary>
    public void Failed(Exception error)
    {
        string? opened = null;
        lock (gate)
        {
            failures++;
            lastFailure = error;
            if (Current() == BreakerState.HalfOpen)
            {
                opened = Open($"a call that was let through to see failed: {error.Message}");
            }
            else if (state == BreakerState.Closed && failures >= options.BreakerFailures)
            {
                opened = Open($"the last {failures} forwards or loads failed: {error.Message}");
            }
        }

        Tell(opened);
    }

    /// <summary>A worker had to be replaced.</summary>
    public void Replaced(Exception error)
    {
        string? opened = null;
        lock (gate)
        {
            long now = time.GetTimestamp();
            while (replacements.TryPeek(out long oldest) && time.GetElapsedTime(oldest, now) > options.BreakerWindow)
            {
                _ = replacements.Dequeue();
            }

            replacements.Enqueue(now);
            lastFailure = error;
            if (state == BreakerState.Closed && replacements.Count >= options.BreakerReplacements)
            {
                opened = Open($"{replacements.Count} workers had to be replaced within {options.BreakerWindow.TotalSeconds:0} s: {error.Message}");
            }
        }

        Tell(opened);
    }

    private BreakerState Current() =>
        state == BreakerState.Open && time.GetElapsedTime(openedAt) >= options.BreakerPause ? BreakerState.HalfOpen : state;

    private string Open(string why)
    {
        state = BreakerState.Open;
        openedAt = time.GetTimestamp();
        reason = why;
        return why;
    }

    private void Tell(string? opened)
    {
        if (opened is not null)
        {
            changed(BreakerState.Open, opened);
        }
    }
}
