using System.Diagnostics;
using System.Runtime.InteropServices;

namespace StellaInterop.PackageTests;

/// <summary>What a program wrote, and how it ended.</summary>
internal sealed record ProgramRun(int ExitCode, string Output, string Errors)
{
    /// <summary>Where .NET is installed, which a program that needs it is told.</summary>
    private static string DotNetRoot { get; } =
        Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));

    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>
    /// Starts a program that was made from the packages: with no search path, nor any other setting that could lead it to
    /// a library elsewhere.
    /// </summary>
    public static Process StartAlone(string path, params string[] arguments)
    {
        var start = Redirected(path, Path.GetTempPath(), arguments);
        start.RedirectStandardInput = true;
        string? systemRoot = Environment.GetEnvironmentVariable("SystemRoot");
        start.Environment.Clear();
        start.Environment["DOTNET_ROOT"] = DotNetRoot;
        start.Environment["DOTNET_BUNDLE_EXTRACT_BASE_DIR"] = Path.Combine(Path.GetDirectoryName(path)!, "extracted");
        if (systemRoot is not null)
        {
            start.Environment["SystemRoot"] = systemRoot;
        }

        return Process.Start(start)!;
    }

    public static ProgramRun Alone(string path, params string[] arguments) => Ended(StartAlone(path, arguments));

    /// <summary>Runs the SDK in a folder, with a package folder of its own, and without what the test runner has set.</summary>
    public static ProgramRun DotNet(string folder, string packages, params string[] arguments)
    {
        var start = Redirected(Path.Combine(DotNetRoot, OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet"), folder, arguments);
        foreach (string name in start.Environment.Keys.Where(IsOfTheRunner).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["NUGET_PACKAGES"] = packages;
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        return Ended(Process.Start(start)!);
    }

    /// <summary>Waits for a program's end.</summary>
    public static ProgramRun Ended(Process process)
    {
        using (process)
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return new ProgramRun(process.ExitCode, output, errors.Result);
        }
    }

    private static bool IsOfTheRunner(string name) =>
        name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("VSTEST", StringComparison.OrdinalIgnoreCase)
        || name.StartsWith("TESTINGPLATFORM", StringComparison.OrdinalIgnoreCase);

    private static ProcessStartInfo Redirected(string path, string folder, string[] arguments) => new(path, arguments)
    {
        WorkingDirectory = folder,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    };
}
