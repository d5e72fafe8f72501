using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

internal enum BreakerState
{
    /// <summary>Calls go through.</summary>
    Closed,

    /// <summary>Calls are refused until the pause is over.</summary>
    Open,

    /// <summary>A few calls at a time are let through, and their outcome decides.</summary>
    HalfOpen,
}

/// <summary>The state of the breaker for calls that name no head.</summary>
/// <param name="State">The worst state of all circuits that such a call has to pass.</param>
/// <param name="Reason">Why the circuit is not closed.</param>
/// <param name="Heads">Why heads other than the default one are refused, or <see langword="null"/>.</param>
internal readonly record struct BreakerView(BreakerState State, string Reason, string? Heads);

/// <summary>
/// Refuses calls while the model fails. There is one circuit for loads, one for workers that had to be replaced, and one for
/// each head, so that a head that fails is refused alone. A fault of a text never reaches the breaker. Thread-safe.
/// </summary>
/// <remarks>
/// The clock is read before the lock is taken. Methods that change the state return the change, so that the caller can log it after
/// all answers are delivered.
/// </remarks>
internal sealed class CircuitBreaker(StellaCircuitBreakerOptions options, PoolClock clock)
{
    private readonly Lock gate = new();
    private readonly Queue<long> replacements = [];
    private readonly Circuit loads = new("loads");
    private readonly Circuit workers = new("workers");

    /// <summary>By dimension. Only heads that failed have a circuit.</summary>
    private readonly Dictionary<int, Circuit> heads = [];

    /// <summary>Lets a call through, or refuses it.</summary>
    /// <param name="dimension">The head that the call needs.</param>
    /// <returns>Dispose it when the call has its answer: the call may hold probes.</returns>
    /// <exception cref="StellaCircuitOpenException">Calls are refused.</exception>
    public BreakerPass Enter(int dimension)
    {
        long now = clock.Now;
        lock (gate)
        {
            Circuit?[] all = [loads, workers, heads.GetValueOrDefault(dimension)];
            foreach (Circuit? circuit in all)
            {
                BreakerState state = StateOf(circuit, now);
                if (state == BreakerState.Open || (state == BreakerState.HalfOpen && circuit!.Probes >= options.MaxProbes))
                {
                    TimeSpan left = options.BreakDuration - clock.Between(circuit!.OpenedAt, now);
                    throw new StellaCircuitOpenException(
                        circuit.Reason, left > TimeSpan.Zero ? left : options.BreakDuration, circuit.LastFailure);
                }
            }

            // Probes are taken after nothing can refuse the call any more.
            List<Circuit>? probed = null;
            foreach (Circuit? circuit in all)
            {
                if (StateOf(circuit, now) == BreakerState.HalfOpen)
                {
                    circuit!.State = BreakerState.HalfOpen;
                    circuit.Probes++;
                    (probed ??= []).Add(circuit);
                }
            }

            return new BreakerPass(this, probed);
        }
    }

    /// <summary>Returns the state for health.</summary>
    /// <param name="defaultDimension">The head of calls that name none.</param>
    public BreakerView View(int defaultDimension)
    {
        long now = clock.Now;
        lock (gate)
        {
            Circuit? worst = new[] { loads, workers, heads.GetValueOrDefault(defaultDimension) }
                .Where(circuit => circuit is not null)
                .MaxBy(circuit => Severity(StateOf(circuit, now)));
            string[] others =
            [
                .. heads.Where(head => head.Key != defaultDimension && StateOf(head.Value, now) != BreakerState.Closed)
                    .OrderBy(head => head.Key)
                    .Select(head => head.Value.Reason),
            ];
            return new BreakerView(StateOf(worst, now), worst!.Reason, others.Length == 0 ? null : Listing.Of(others, "; "));
        }
    }

    /// <summary>A forward pass of a head went well.</summary>
    /// <returns>Whether a circuit was closed by that.</returns>
    public bool Succeeded(int dimension)
    {
        long now = clock.Now;
        bool closed = false;
        lock (gate)
        {
            if (heads.TryGetValue(dimension, out Circuit? head) && StateOf(head, now) != BreakerState.Open)
            {
                closed |= head.State != BreakerState.Closed;
                _ = heads.Remove(dimension);
            }

            if (StateOf(workers, now) == BreakerState.HalfOpen)
            {
                closed = true;
                workers.Close();
                replacements.Clear();
            }
        }

        return closed;
    }

    /// <summary>A head failed, and no text is to blame.</summary>
    /// <returns>Why its circuit is open now; <see langword="null"/> if it was not opened by this.</returns>
    public string? Failed(int dimension, Exception error)
    {
        long now = clock.Now;
        lock (gate)
        {
            if (!heads.TryGetValue(dimension, out Circuit? head))
            {
                heads.Add(dimension, head = new Circuit($"forward passes of dimension {dimension}"));
            }

            return Fail(head, error, now);
        }
    }

    /// <summary>A load went well.</summary>
    /// <returns>Whether a circuit was closed by that.</returns>
    public bool Loaded()
    {
        lock (gate)
        {
            bool closed = loads.State != BreakerState.Closed;
            loads.Close();
            return closed;
        }
    }

    /// <summary>A load failed.</summary>
    /// <returns>Why the circuit is open now; <see langword="null"/> if it was not opened by this.</returns>
    public string? LoadFailed(Exception error)
    {
        long now = clock.Now;
        lock (gate)
        {
            return Fail(loads, error, now);
        }
    }

    /// <summary>Workers had to be replaced, and no text is to blame.</summary>
    /// <returns>Why the circuit is open now; <see langword="null"/> if it was not opened by this.</returns>
    public string? Replaced(int count, Exception error)
    {
        long now = clock.Now;
        lock (gate)
        {
            while (replacements.TryPeek(out long oldest) && clock.Between(oldest, now) > options.SamplingDuration)
            {
                _ = replacements.Dequeue();
            }

            for (int i = 0; i < count; i++)
            {
                replacements.Enqueue(now);
            }

            workers.LastFailure = error;
            return workers.State == BreakerState.Closed && replacements.Count >= options.ReplacementThreshold
                ? workers.Open(
                    now, $"{replacements.Count} workers had to be replaced within {options.SamplingDuration.TotalSeconds:0} s: {error.Message}")
                : null;
        }
    }

    private static int Severity(BreakerState state) => state switch
    {
        BreakerState.Open => 2,
        BreakerState.HalfOpen => 1,
        _ => 0,
    };

    /// <summary>Counts a failure. Failures in a row open the circuit, and one is enough while it is tried.</summary>
    private string? Fail(Circuit circuit, Exception error, long now)
    {
        circuit.Failures++;
        circuit.LastFailure = error;
        return StateOf(circuit, now) switch
        {
            BreakerState.HalfOpen => circuit.Open(now, $"a call that was let through to see failed: {error.Message}"),
            BreakerState.Closed when circuit.Failures >= options.FailureThreshold =>
                circuit.Open(now, $"the last {circuit.Failures} {circuit.What} failed: {error.Message}"),
            _ => null,
        };
    }

    private BreakerState StateOf(Circuit? circuit, long now) =>
        circuit is null ? BreakerState.Closed
        : circuit.State == BreakerState.Open && clock.Between(circuit.OpenedAt, now) >= options.BreakDuration ? BreakerState.HalfOpen
        : circuit.State;

    private void Release(List<Circuit> probed)
    {
        lock (gate)
        {
            probed.ForEach(circuit => circuit.Probes--);
        }
    }

    /// <summary>The right of one call to go through.</summary>
    internal readonly struct BreakerPass(CircuitBreaker breaker, List<Circuit>? probed) : IDisposable
    {
        /// <summary>Gives the probes back. To be called once.</summary>
        public void Dispose()
        {
            if (probed is not null)
            {
                breaker.Release(probed);
            }
        }
    }

    /// <summary>The state of one thing that can fail. Changed under the breaker's lock.</summary>
    internal sealed class Circuit(string what)
    {
        public string What { get; } = what;

        public BreakerState State { get; set; }

        public int Failures { get; set; }

        public int Probes { get; set; }

        public long OpenedAt { get; private set; }

        public string Reason { get; private set; } = string.Empty;

        public Exception? LastFailure { get; set; }

        public string Open(long now, string reason)
        {
            State = BreakerState.Open;
            OpenedAt = now;
            Reason = reason;
            return reason;
        }

        public void Close()
        {
            State = BreakerState.Closed;
            Failures = 0;
            Reason = string.Empty;
            LastFailure = null;
        }
    }
}
