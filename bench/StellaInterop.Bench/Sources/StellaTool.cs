using System.Diagnostics;

namespace StellaInterop.Bench.Sources;

/// <summary>The command line <c>stella</c> of this build, which runs as a process of its own.</summary>
internal static class StellaTool
{
    /// <summary>Returns the process to start for a command, with its standard output redirected.</summary>
    public static ProcessStartInfo Command(string name, params IEnumerable<string> options)
    {
        string host = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";
        string tool = Path.Combine(SourceTree.Root, "src/StellaInterop.Cli/bin", SourceTree.Configuration, "net10.0/stella.dll");
        return new ProcessStartInfo(host, [tool, name, .. options]) { RedirectStandardOutput = true };
    }
}
