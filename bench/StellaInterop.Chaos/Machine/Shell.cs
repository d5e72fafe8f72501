using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Chaos.Machine;

/// <summary>Runs commands of the system.</summary>
internal static class Shell
{
    /// <summary>The time after which a process that is started again whenever it ends should be running.</summary>
    private static readonly TimeSpan RestartLimit = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan RestartPoll = TimeSpan.FromMilliseconds(100);

    /// <summary>Runs a command and returns its output.</summary>
    /// <exception cref="BenchException">The command failed.</exception>
    public static Task<string> RunAsync(string command, params IEnumerable<string> arguments) => RunAsync(command, arguments, CancellationToken.None);

    /// <summary>Runs a command, which cancellation kills, and returns its output.</summary>
    /// <exception cref="BenchException">The command failed.</exception>
    public static async Task<string> RunAsync(string command, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        (int code, string output, string error) = await StartAsync(command, arguments, cancellationToken).ConfigureAwait(false);
        return code == 0 ? output : throw new BenchException($"`{command} {string.Join(' ', arguments)}` ended with {code}: {error.Trim()}");
    }

    /// <summary>Runs a command that may fail, such as the removal of something that is gone.</summary>
    public static async Task<bool> TryAsync(string command, params IEnumerable<string> arguments) =>
        await TryReadAsync(command, arguments).ConfigureAwait(false) is not null;

    /// <summary>Runs a command that may fail.</summary>
    /// <returns>Its output; <see langword="null"/> if it failed.</returns>
    public static async Task<string?> TryReadAsync(string command, params IEnumerable<string> arguments)
    {
        (int code, string output, _) = await StartAsync(command, arguments, CancellationToken.None).ConfigureAwait(false);
        return code == 0 ? output : null;
    }

    /// <summary>Sends a signal such as STOP to a process, which may have ended.</summary>
    public static Task<bool> SignalAsync(int process, string signal) =>
        TryAsync("kill", $"-{signal}", process.ToString(CultureInfo.InvariantCulture));

    /// <summary>Sends a signal to a process that is started again whenever it ends, and waits for its start if necessary.</summary>
    /// <param name="process">Returns the id of the process; 0 while it is not running.</param>
    /// <param name="signal">The name of the signal.</param>
    /// <param name="cancellationToken">A token that ends the waiting.</param>
    /// <returns><see langword="false"/> if the process was not started in time.</returns>
    public static async Task<bool> SignalAsync(Func<int> process, string signal, CancellationToken cancellationToken)
    {
        long start = Stopwatch.GetTimestamp();
        while (process() is var id && (id == 0 || !await SignalAsync(id, signal).ConfigureAwait(false)))
        {
            if (Stopwatch.GetElapsedTime(start) > RestartLimit)
            {
                return false;
            }

            await Task.Delay(RestartPoll, cancellationToken).ConfigureAwait(false);
        }

        return true;
    }

    private static async Task<(int Code, string Output, string Error)> StartAsync(
        string command, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        try
        {
            using Process process = Process.Start(
                new ProcessStartInfo(command, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            using CancellationTokenRegistration killing = cancellationToken.Register(() => process.Kill(entireProcessTree: true));
            Task<string> error = process.StandardError.ReadToEndAsync(CancellationToken.None);
            string output = await process.StandardOutput.ReadToEndAsync(CancellationToken.None).ConfigureAwait(false);
            await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            return (process.ExitCode, output, await error.ConfigureAwait(false));
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (-1, "", e.Message);
        }
    }
}
