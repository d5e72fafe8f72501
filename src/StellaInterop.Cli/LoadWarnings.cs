using Microsoft.Extensions.Logging;

namespace StellaInterop.Cli;

/// <summary>Shows the warnings that the library logs, one line each, and each line once. Everything else of the log is dropped.</summary>
/// <param name="note">Writes a line for the person who watches.</param>
internal sealed class LoadWarnings(Action<string> note) : ILoggerFactory, ILogger
{
    private readonly HashSet<string> shown = [];

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("The warnings have one destination.");

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    /// <summary>Tells whether a record is shown. An error is not: it reaches the command as an exception.</summary>
    public bool IsEnabled(LogLevel logLevel) => logLevel == LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }

        string message = MessageOf(state) ?? formatter(state, exception);
        // Several threads may log.
        lock (shown)
        {
            if (shown.Add(message))
            {
                note($"warning: {message.ReplaceLineEndings(" ").Trim()}");
            }
        }
    }

    public void Dispose()
    {
    }

    /// <summary>Returns the message of a native record without the name of the module that wrote it.</summary>
    private static string? MessageOf<TState>(TState state) => state is IReadOnlyList<KeyValuePair<string, object?>> values
        ? values.FirstOrDefault(value => value.Key == "Message").Value as string
        : null;
}
