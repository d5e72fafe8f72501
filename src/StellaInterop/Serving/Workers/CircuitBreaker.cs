using StellaInterop.Memory;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

internal enum BreakerState
{
    /// <summary>The circuit lets calls through.</summary>
    Closed,

    /// <summary>The circuit refuses calls until the end of <see cref="StellaCircuitBreakerOptions.BreakDuration"/>.</summary>
    Open,

    /// <summary>The circuit lets a few calls through as probes, and their outcome closes or opens it.</summary>
    HalfOpen,
}

/// <summary>The state of the breaker for calls with the default head.</summary>
/// <param name="State">The worst state of all circuits that such a call has to pass.</param>
/// <param name="Reason">Why the circuit is not closed.</param>
/// <param name="Heads">Why heads other than the default one are refused, or <see langword="null"/>.</param>
internal readonly record struct BreakerView(BreakerState State, string Reason, string? Heads);

/// <summary>
/// The circuit breaker of a pool: refuses calls while the model fails. There is one circuit for loads, one for workers that had to be replaced, and one for
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

    /// <summary>The circuits of heads that failed. Heads of one call have a circuit of their own, because it is not known which of them failed.</summary>
    private readonly Dictionary<Heads, Circuit> failed = [];

    /// <summary>Lets a call through, or refuses it.</summary>
    /// <param name="heads">The heads that the call needs.</param>
    /// <returns>
    /// The probes of the call, to be disposed when the call has its answer; <see langword="null"/> if no circuit is half open.
    /// </returns>
    /// <exception cref="StellaCircuitOpenException">Calls are refused.</exception>
    public IDisposable? Enter(Heads heads)
    {
        long now = clock.Now;
        lock (gate)
        {
            Circuit?[] all = [loads, workers, failed.GetValueOrDefault(heads)];
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

            // Probes are taken last, when no circuit can refuse the call any more.
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

            return probed is null ? null : new ProbeLease(this, probed);
        }
    }

    /// <summary>Returns the state for health.</summary>
    /// <param name="defaultHead">The head of calls that name none.</param>
    public BreakerView View(Heads defaultHead)
    {
        long now = clock.Now;
        lock (gate)
        {
            Circuit? worst = new[] { loads, workers, failed.GetValueOrDefault(defaultHead) }
                .Where(circuit => circuit is not null)
                .MaxBy(circuit => Severity(StateOf(circuit, now)));
            string[] others =
            [
                .. failed.Where(head => !head.Key.Equals(defaultHead) && StateOf(head.Value, now) != BreakerState.Closed)
                    .OrderBy(head => head.Key.RowLength)
                    .Select(head => head.Value.Reason),
            ];
            return new BreakerView(StateOf(worst, now), worst!.Reason, others.Length == 0 ? null : Listing.Of(others, "; "));
        }
    }

    /// <summary>Records a successful forward pass of a head.</summary>
    /// <returns>Whether it closed a circuit.</returns>
    public bool Succeeded(Heads heads)
    {
        long now = clock.Now;
        bool closed = false;
        lock (gate)
        {
            if (failed.TryGetValue(heads, out Circuit? head) && StateOf(head, now) != BreakerState.Open)
            {
                closed |= head.State != BreakerState.Closed;
                _ = failed.Remove(heads);
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

    /// <summary>Records a failure of a head for which no text is at fault.</summary>
    /// <returns>The reason, if this failure opened the circuit of the head.</returns>
    public string? Failed(Heads heads, Exception error)
    {
        long now = clock.Now;
        lock (gate)
        {
            if (!failed.TryGetValue(heads, out Circuit? head))
            {
                failed.Add(heads, head = new Circuit($"forward passes of dimension {heads}"));
            }

            return Fail(head, error, now);
        }
    }

    /// <summary>Records a successful load.</summary>
    /// <returns>Whether it closed a circuit.</returns>
    public bool Loaded()
    {
        lock (gate)
        {
            bool closed = loads.State != BreakerState.Closed;
            loads.Close();
            return closed;
        }
    }

    /// <summary>Records a failed load.</summary>
    /// <returns>The reason, if this failure opened the circuit of loads.</returns>
    public string? LoadFailed(Exception error)
    {
        long now = clock.Now;
        lock (gate)
        {
            return Fail(loads, error, now);
        }
    }

    /// <summary>Records replaced workers for which no text is at fault.</summary>
    /// <returns>The reason, if they opened the circuit of workers.</returns>
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

    /// <summary>Counts a failure. Consecutive failures open the circuit; one is enough while it is half open.</summary>
    private string? Fail(Circuit circuit, Exception error, long now)
    {
        circuit.Failures++;
        circuit.LastFailure = error;
        return StateOf(circuit, now) switch
        {
            BreakerState.HalfOpen => circuit.Open(now, $"a probe failed: {error.Message}"),
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

    /// <summary>The probes of one call.</summary>
    private sealed class ProbeLease(CircuitBreaker breaker, List<Circuit> probed) : IDisposable
    {
        public void Dispose() => breaker.Release(probed);
    }

    /// <summary>The state of one circuit. Changed under the breaker's lock.</summary>
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
