using System.Diagnostics;
using System.Globalization;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Chaos.Machine;

/// <summary>Runs commands of the system.</summary>
internal static class Shell
{
    /// <summary>Runs a command and returns its output.</summary>
    /// <exception cref="BenchException">The command failed.</exception>
    public static async Task<string> RunAsync(string command, params IEnumerable<string> arguments)
    {
        (int code, string output, string error) = await StartAsync(command, arguments).ConfigureAwait(false);
        return code == 0 ? output : throw new BenchException($"`{command} {string.Join(' ', arguments)}` ended with {code}: {error.Trim()}");
    }

    /// <summary>Runs a command that may fail, such as the removal of something that is gone.</summary>
    public static async Task<bool> TryAsync(string command, params IEnumerable<string> arguments) =>
        (await StartAsync(command, arguments).ConfigureAwait(false)).Code == 0;

    /// <summary>Sends a signal such as STOP to a process, which may have ended.</summary>
    public static Task<bool> SignalAsync(int process, string signal) =>
        TryAsync("kill", $"-{signal}", process.ToString(CultureInfo.InvariantCulture));

    private static async Task<(int Code, string Output, string Error)> StartAsync(string command, IEnumerable<string> arguments)
    {
        try
        {
            using Process process = Process.Start(
                new ProcessStartInfo(command, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> error = process.StandardError.ReadToEndAsync();
            string output = await process.StandardOutput.ReadToEndAsync().ConfigureAwait(false);
            await process.WaitForExitAsync().ConfigureAwait(false);
            return (process.ExitCode, output, await error.ConfigureAwait(false));
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (-1, "", e.Message);
        }
    }
}
