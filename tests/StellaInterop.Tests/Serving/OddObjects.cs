using System.Buffers;
using System.Collections;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>A list whose length differs at each look, or that throws.</summary>
internal sealed class ChangingList : IReadOnlyList<string>
{
    private int looks;

    public bool Fails { get; init; }

    public int Count => 3 + (looks++ % 2);

    public string this[int index] => $"{index}";

    public IEnumerator<string> GetEnumerator() => Fails ? throw new IOException("a list") : Enumerable.Range(0, 3).Select(i => $"{i}").GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>Memory that is no array, and does something when it is touched.</summary>
internal sealed class OddMemory<T>(int length, Action touched) : MemoryManager<T>
{
    public T[] Items { get; } = new T[length];

    public override Span<T> GetSpan()
    {
        touched();
        return Items;
    }

    public override Memory<T> Memory => CreateMemory(length);

    public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException();

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}

/// <summary>A clock whose timers run with the context of whoever made them, as the system's do.</summary>
internal sealed class FlowingClock : FakeTimeProvider
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        ExecutionContext? context = ExecutionContext.Capture();
        return base.CreateTimer(
            context is null ? callback : inner => ExecutionContext.Run(context, new ContextCallback(callback), inner),
            state,
            dueTime,
            period);
    }
}

/// <summary>Makes one meter, and always the same.</summary>
internal sealed class OneMeter : IMeterFactory
{
    private Meter? meter;

    public Meter Create(MeterOptions options)
    {
        options.Scope = this;
        return meter ??= new Meter(options);
    }

    public void Dispose() => meter?.Dispose();
}

/// <summary>The system's clock, which does what a test tells it.</summary>
internal sealed class OddClock : TimeProvider
{
    private int timers;
    private int disposed;

    /// <summary>Before each timestamp, on the thread that asks.</summary>
    public Action OnRead { get; set; } = () => { };

    /// <summary>Before a timer is set anew, on the thread that sets it.</summary>
    public Action OnChange { get; set; } = () => { };

    /// <summary>The timer, from 1, that cannot be made; 0 for none.</summary>
    public int RefusedTimer { get; init; }

    /// <summary>Whether disposing a timer fails.</summary>
    public bool KeepsTimers { get; init; }

    public int DisposedTimers => Volatile.Read(ref disposed);

    public override long GetTimestamp()
    {
        OnRead();
        return base.GetTimestamp();
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        Interlocked.Increment(ref timers) == RefusedTimer
            ? throw new NotSupportedException("no timer")
            : new Timer(this, base.CreateTimer(callback, state, dueTime, period));

    private sealed class Timer(OddClock clock, ITimer inner) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            clock.OnChange();
            return inner.Change(dueTime, period);
        }

        public void Dispose()
        {
            inner.Dispose();
            Interlocked.Increment(ref clock.disposed);
            if (clock.KeepsTimers)
            {
                throw new InvalidOperationException("a timer");
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
