using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests.Serving;

/// <summary>Tells what is logged, on the thread that logs it, and keeps it.</summary>
internal sealed class ListeningLoggers(Action<EventId> heard) : ILoggerFactory, ILogger
{
    private readonly List<EventId> all = [];

    public IReadOnlyList<EventId> Heard
    {
        get
        {
            lock (all)
            {
                return [.. all];
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
        lock (all)
        {
            all.Add(eventId);
        }

        heard(eventId);
    }

    public void Dispose()
    {
    }
}
