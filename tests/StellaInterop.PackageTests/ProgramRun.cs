using System.Diagnostics;
using System.Runtime.InteropServices;

namespace StellaInterop.PackageTests;

/// <summary>The exit code and the output of a program.</summary>
internal sealed record ProgramRun(int ExitCode, string Output, string Errors)
{
    /// <summary>The folder of the .NET installation, which is passed to framework-dependent programs.</summary>
    private static string DotNetRoot { get; } =
        Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));

    public string[] Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>
    /// Starts a program that was built from the packages with an empty environment: no search path or other setting can lead it to
    /// a library elsewhere.
    /// </summary>
    public static Process StartIsolated(string path, params string[] arguments)
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

    /// <summary>Runs a program to its end, with an empty environment.</summary>
    public static ProgramRun RunIsolated(string path, params string[] arguments) => WaitFor(StartIsolated(path, arguments));

    /// <summary>Runs a program by another program, such as an emulator, in a folder and with the environment of the tests.</summary>
    public static ProgramRun RunBy(string[] runner, string folder, params string[] arguments) =>
        WaitFor(Process.Start(Redirected(runner[0], folder, [.. runner[1..], .. arguments]))!);

    /// <summary>Runs the .NET SDK in a folder, with its own package folder and without the environment variables of the test runner.</summary>
    public static ProgramRun DotNet(string folder, string packages, params string[] arguments)
    {
        var start = Redirected(Path.Combine(DotNetRoot, OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet"), folder, arguments);
        foreach (string name in start.Environment.Keys.Where(IsTestRunnerVariable).ToArray())
        {
            start.Environment.Remove(name);
        }

        start.Environment["NUGET_PACKAGES"] = packages;
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        return WaitFor(Process.Start(start)!);
    }

    /// <summary>Waits for a program to end and returns its result.</summary>
    public static ProgramRun WaitFor(Process process)
    {
        using (process)
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return new ProgramRun(process.ExitCode, output, errors.Result);
        }
    }

    private static bool IsTestRunnerVariable(string name) =>
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
