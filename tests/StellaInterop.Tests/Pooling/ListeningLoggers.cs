using Microsoft.Extensions.Logging;

namespace StellaInterop.Tests.Pooling;

/// <summary>Tells what is logged, on the thread that logs it.</summary>
internal class ListeningLoggers(Action<EventId> heard) : ILoggerFactory, ILogger
{
    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        heard(eventId);

    public void Dispose()
    {
    }
}
