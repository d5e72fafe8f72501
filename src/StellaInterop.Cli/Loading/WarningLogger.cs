using Microsoft.Extensions.Logging;

namespace StellaInterop.Cli.Loading;

/// <summary>Writes the warnings of the library as one line each, without repetitions. Other log records are dropped.</summary>
/// <param name="writeMessage">Writes a line to standard error.</param>
internal sealed class WarningLogger(Action<string> writeMessage) : ILoggerFactory, ILogger
{
    private readonly HashSet<string> shown = [];

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("Warnings are written to standard error only.");

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    /// <summary>
    /// Returns whether a record is shown. Errors are not shown here, because they reach the command as exceptions.
    /// </summary>
    public bool IsEnabled(LogLevel logLevel) => logLevel == LogLevel.Warning;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }

        string message = GetNativeMessage(state) ?? formatter(state, exception);
        // Several threads may log at the same time.
        lock (shown)
        {
            if (shown.Add(message))
            {
                writeMessage($"warning: {message.ReplaceLineEndings(" ").Trim()}");
            }
        }
    }

    public void Dispose()
    {
    }

    /// <summary>Returns the message of a record of the native library without the name of the module that wrote it.</summary>
    private static string? GetNativeMessage<TState>(TState state) => state is IReadOnlyList<KeyValuePair<string, object?>> values
        ? values.FirstOrDefault(value => value.Key == "Message").Value as string
        : null;
}
