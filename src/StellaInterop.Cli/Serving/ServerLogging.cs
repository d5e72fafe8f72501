using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Serving;

/// <summary>Writes the log of commands that run until they are stopped to standard error.</summary>
internal static class ServerLogging
{
    /// <summary>Adds the log.</summary>
    public static void Add(ILoggingBuilder logging, Verbosity verbosity)
    {
        _ = logging
            .SetMinimumLevel(verbosity switch
            {
                Verbosity.Quiet => LogLevel.Error,
                Verbosity.Debug => LogLevel.Debug,
                _ => LogLevel.Information,
            })
            .AddSimpleConsole(format =>
            {
                format.SingleLine = true;
                format.ColorBehavior = LoggerColorBehavior.Disabled;
                format.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
                format.UseUtcTimestamp = true;
            })
            .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        if (verbosity != Verbosity.Debug)
        {
            // The host would log an error of the start with its stack, before the command reports it in one line.
            _ = logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
        }
    }
}
