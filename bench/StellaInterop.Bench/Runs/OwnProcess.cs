using System.Diagnostics;

namespace StellaInterop.Bench.Runs;

/// <summary>Runs hidden commands of this program in new processes, so that measurements share no memory.</summary>
internal static class OwnProcess
{
    /// <summary>Returns the process to start for a command, with its standard output redirected.</summary>
    public static ProcessStartInfo Command(string name, params IEnumerable<string> arguments)
    {
        bool isHosted = Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet";
        string[] program = isHosted ? [typeof(OwnProcess).Assembly.Location] : [];
        return new ProcessStartInfo(Environment.ProcessPath!, [.. program, name, .. arguments]) { RedirectStandardOutput = true };
    }
}
