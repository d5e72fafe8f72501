namespace StellaInterop.Soak.FaultInjection;

/// <summary>
/// A clock that runs faster than the system's, so that pauses of a minute fit into a scenario of seconds. Its timers fire by its own
/// time.
/// </summary>
/// <param name="factor">Seconds of this clock in one second of real time.</param>
/// <param name="late">Delay of each timer with a due time, in seconds of real time. This is a planted defect.</param>
internal sealed class FastClock(int factor, double late = 0) : TimeProvider
{
    public override long TimestampFrequency => System.TimestampFrequency;

    public override long GetTimestamp() => System.GetTimestamp() * factor;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new Timer(this, System.CreateTimer(callback, state, Due(dueTime), Scaled(period)));

    private static TimeSpan Scale(TimeSpan time, int factor) =>
        time <= TimeSpan.Zero ? time : TimeSpan.FromTicks(Math.Max(time.Ticks / factor, TimeSpan.TicksPerMillisecond));

    private TimeSpan Scaled(TimeSpan time) => Scale(time, factor);

    private TimeSpan Due(TimeSpan time) => time <= TimeSpan.Zero ? time : Scaled(time) + TimeSpan.FromSeconds(late);

    private sealed class Timer(FastClock clock, ITimer inner) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => inner.Change(clock.Due(dueTime), clock.Scaled(period));

        public void Dispose() => inner.Dispose();

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
