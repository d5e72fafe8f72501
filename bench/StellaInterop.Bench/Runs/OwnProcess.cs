using System.Diagnostics;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Runs;

/// <summary>Runs a hidden command of this program in a new process, so that measurements share no memory.</summary>
internal static class OwnProcess
{
    /// <param name="command">The name of the command.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="subject">Name of the measured thing, which begins the message of an error.</param>
    /// <param name="cancellationToken">A token that ends the process.</param>
    /// <returns>The standard output of the process.</returns>
    /// <exception cref="BenchException">The process failed.</exception>
    public static string Run(string command, IEnumerable<string> arguments, string subject, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(start.FileName) == "dotnet")
        {
            start.ArgumentList.Add(typeof(OwnProcess).Assembly.Location);
        }

        start.ArgumentList.Add(command);
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        using Process process = Process.Start(start)!;
        using CancellationTokenRegistration stop = cancellationToken.Register(process.Kill);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        cancellationToken.ThrowIfCancellationRequested();
        return process.ExitCode == (int)ExitCode.Success
            ? output
            : throw new BenchException($"{subject} failed in its own process (exit code {process.ExitCode}). Its errors are above.");
    }
}
