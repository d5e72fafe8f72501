using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests.Serving;

/// <summary>Calls back for each record, on the thread that logs it, and keeps the event ids.</summary>
internal sealed class CallbackLoggerFactory(Action<EventId> onLog) : ILoggerFactory, ILogger
{
    private readonly List<EventId> eventIds = [];

    public IReadOnlyList<EventId> EventIds
    {
        get
        {
            lock (eventIds)
            {
                return [.. eventIds];
            }
        }
    }

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (eventIds)
        {
            eventIds.Add(eventId);
        }

        onLog(eventId);
    }

    public void Dispose()
    {
    }
}
