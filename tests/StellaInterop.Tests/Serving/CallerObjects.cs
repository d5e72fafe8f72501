using System.Buffers;
using System.Collections;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Time.Testing;

namespace StellaInterop.Tests.Serving;

/// <summary>A list with a different count at each read, or with an enumerator that throws.</summary>
internal sealed class ChangingList : IReadOnlyList<string>
{
    private int countReads;

    public bool EnumerationThrows { get; init; }

    public int Count => 3 + (countReads++ % 2);

    public string this[int index] => $"{index}";

    public IEnumerator<string> GetEnumerator() => EnumerationThrows ? throw new IOException("thrown by the list") : Enumerable.Range(0, 3).Select(i => $"{i}").GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>Memory that is not an array, and runs a callback each time its span is read.</summary>
internal sealed class CallbackMemory<T>(int length, Action onGetSpan) : MemoryManager<T>
{
    public T[] Items { get; } = new T[length];

    public override Span<T> GetSpan()
    {
        onGetSpan();
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

/// <summary>A clock whose timers run in the execution context of their creator, like the timers of the system.</summary>
internal sealed class ContextFlowingClock : FakeTimeProvider
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

/// <summary>A factory that always returns the same meter.</summary>
internal sealed class SingleMeterFactory : IMeterFactory
{
    private Meter? meter;

    public Meter Create(MeterOptions options)
    {
        options.Scope = this;
        return meter ??= new Meter(options);
    }

    public void Dispose() => meter?.Dispose();
}

/// <summary>The clock of the system, with callbacks and with timers that fail on request.</summary>
internal sealed class CallbackClock : TimeProvider
{
    private int timers;
    private int disposed;

    /// <summary>Runs before each timestamp, on the thread that reads it.</summary>
    public Action OnRead { get; set; } = () => { };

    /// <summary>Runs before a timer is changed, on the thread that changes it.</summary>
    public Action OnChange { get; set; } = () => { };

    /// <summary>The number, from 1, of the timer that cannot be created; 0 for none.</summary>
    public int RefusedTimer { get; init; }

    /// <summary>Whether disposing a timer throws.</summary>
    public bool TimerDisposeThrows { get; init; }

    public int DisposedTimers => Volatile.Read(ref disposed);

    public override long GetTimestamp()
    {
        OnRead();
        return base.GetTimestamp();
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        Interlocked.Increment(ref timers) == RefusedTimer
            ? throw new NotSupportedException("The clock refuses this timer.")
            : new Timer(this, base.CreateTimer(callback, state, dueTime, period));

    private sealed class Timer(CallbackClock clock, ITimer inner) : ITimer
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
            if (clock.TimerDisposeThrows)
            {
                throw new InvalidOperationException("thrown by the timer");
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return default;
        }
    }
}
