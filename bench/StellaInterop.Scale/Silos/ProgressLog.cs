using Microsoft.Extensions.Logging;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Scale.Silos;

/// <summary>Writes the warnings of a silo or of a worker to standard error.</summary>
internal class ProgressLog : ILogger
{
    /// <summary>Gets or sets whether nothing is written any more.</summary>
    public bool IsMuted { get; set; }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning && !IsMuted;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
        {
            Progress.Log($"{logLevel}: {formatter(state, exception)} {exception?.Message}");
        }
    }
}

/// <summary>Gives all parts of a silo the same log.</summary>
internal sealed class ProgressLogProvider : ILoggerProvider
{
    private readonly ProgressLog log = new();

    public ILogger CreateLogger(string categoryName) => log;

    public void Dispose()
    {
    }
}
