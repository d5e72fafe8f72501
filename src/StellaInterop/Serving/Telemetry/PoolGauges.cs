using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using StellaInterop.Threading;

namespace StellaInterop.Serving;

/// <summary>The gauges of all pools on one meter: one set of instruments, however many pools come and go. Thread-safe.</summary>
/// <remarks>
/// A meter cannot remove an instrument, and a factory's meter outlives its pools. So the instruments belong to the meter, and each open pool
/// is an entry that they measure.
/// </remarks>
internal sealed class PoolGauges
{
    // Several pools may get the same meter from a factory, and they share nothing else.
    private static readonly ConditionalWeakTable<Meter, PoolGauges> Sets = [];

    private ImmutableArray<Entry> pools = [];
    private int published;

    /// <summary>Adds a pool, which must be complete: a listener may read the gauges before this method returns.</summary>
    /// <returns>Dispose it to remove the pool.</returns>
    public static IDisposable Add(
        Meter meter, string model, Func<StellaPoolHealth> health, StellaMemoryGovernor governor)
    {
        PoolGauges set = Sets.GetValue(meter, static _ => new PoolGauges());
        var entry = new Entry(set, new("stella.model", model), health, governor);
        ImmutableInterlocked.Update(ref set.pools, static (all, added) => all.Add(added), entry);
        set.Publish(meter);
        return entry;
    }

    private void Publish(Meter meter)
    {
        if (Interlocked.Exchange(ref published, 1) != 0)
        {
            return;
        }

        Gauge(meter, "stella.queue.calls", "{request}", "Calls that are accepted and not answered.", OfHealth(health => health.QueuedCallCount));
        Gauge(meter, "stella.queue.tokens", "{token}", "Tokens that wait.", OfHealth(health => health.QueuedTokenCount));
        Gauge(meter, "stella.workers", "{worker}", "Workers by state.", Workers);
        Gauge(meter, "stella.memory.reserved", "By", "Memory that models and workers of the process reserved.", OfMemory(status => status.ReservedBytes));
        Gauge(meter, "stella.memory.limit", "By", "Memory that they may reserve.", OfMemory(status => status.LimitBytes));
    }

    /// <summary>Adds up the pools with the same tags: of several measurements with the same tags, an exporter keeps only the last.</summary>
    private Func<IEnumerable<Measurement<long>>> OfHealth(Func<StellaPoolHealth, long> read) => () =>
        ByModel().Select(group => new Measurement<long>(group.Sum(pool => read(pool.Health())), group.Key));

    private Func<IEnumerable<Measurement<long>>> OfMemory(Func<StellaMemoryStatus, long> read) => () =>
        ByModel().Select(group => new Measurement<long>(
            group.Select(pool => pool.Governor).Distinct().Sum(governor => read(governor.GetStatus())), group.Key));

    private IEnumerable<Measurement<long>> Workers() => ByModel().SelectMany(group =>
    {
        StellaPoolHealth[] health = [.. group.Select(pool => pool.Health())];
        long busy = health.Sum(one => one.BusyWorkerCount);
        return new Measurement<long>[]
        {
            new(busy, group.Key, new("stella.state", "busy")),
            new(health.Sum(one => one.WorkerCount) - busy, group.Key, new("stella.state", "idle")),
        };
    });

    private IEnumerable<IGrouping<KeyValuePair<string, object?>, Entry>> ByModel() => pools.GroupBy(pool => pool.Model);

    private static void Gauge(Meter meter, string name, string unit, string description, Func<IEnumerable<Measurement<long>>> read) =>
        // A listener that fails at one gauge still gets the others.
        ForeignCode.Run(() => meter.CreateObservableUpDownCounter(name, read, unit, description));

    private sealed record Entry(
        PoolGauges Set, KeyValuePair<string, object?> Model, Func<StellaPoolHealth> Health, StellaMemoryGovernor Governor) : IDisposable
    {
        public void Dispose() => ImmutableInterlocked.Update(ref Set.pools, static (all, gone) => all.Remove(gone), this);
    }
}
