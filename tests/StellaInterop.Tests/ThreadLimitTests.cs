using System.Diagnostics;
using System.Globalization;
using System.Runtime.Versioning;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>A process at its user's limit on threads, as in a container. The operating system enforces the limit: nothing is mocked.</summary>
[Platform("Linux")]
[SupportedOSPlatform("linux")]
internal sealed class ThreadLimitTests
{
    /// <summary>Enough threads for the runtime, and some more for the program to take and release.</summary>
    private const int Threads = 60;

    /// <summary>An unused user id, so that only the threads of this program count.</summary>
    private const int UnusedUserId = 61_234;

    [Test]
    public void A_process_at_its_thread_limit_answers_or_refuses_every_call_and_frees_everything()
    {
        using var folder = new TemporaryFolder();
        folder.CopyFrom(Path.GetDirectoryName(typeof(ChildProgram).Assembly.Location)!);
        MakeReadable(folder.Path);

        // The shipped model is next to the program.
        using Process process = Process.Start(Limited(folder.File("StellaInterop.Tests.dll"), folder.File("stella-mini")))!;
        string output = ChildProgram.OutputOf(process);
        int[] counts = [.. output.Split(' ').Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
        TestContext.Out.WriteLine($"answered, refused, panicked: {output}");
        Assert.That(counts, Has.Length.EqualTo(3).And.All.Positive, "calls that were answered, refused, and failed by a panic");
    }

    /// <summary>Returns the command that runs the program under its limit. Root is exempt from the limit, so root changes its user first.</summary>
    private static ProcessStartInfo Limited(string program, string model)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        bool isRoot = Environment.IsPrivilegedProcess;
        int limit = Threads + (isRoot ? 0 : PresentThreads());
        string[] command = ["prlimit", $"--nproc={limit}", dotnet, "exec", program, ThreadLimitProgram.Command, model];
        string id = UnusedUserId.ToString(CultureInfo.InvariantCulture);
        string[] arguments = isRoot ? ["setpriv", "--reuid", id, "--regid", id, "--clear-groups", .. command] : command;
        var start = new ProcessStartInfo(arguments[0], arguments[1..]) { RedirectStandardOutput = true, RedirectStandardError = true };
        // Turns off optional threads of the runtime, and diagnostics files that the user may not write.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        start.Environment["DOTNET_gcServer"] = "0";
        start.Environment["DOTNET_gcConcurrent"] = "0";
        // Keeps idle threads of the .NET thread pool, because it could not start them again.
        start.Environment["DOTNET_ThreadPool_ThreadsToKeepAlive"] = "9";
        return start;
    }

    /// <summary>Returns the number of threads of the user that runs the tests.</summary>
    private static int PresentThreads()
    {
        string user = Field(File.ReadAllLines("/proc/self/status"), "Uid").Split('\t')[0];
        return Directory.EnumerateDirectories("/proc", "*")
            .Where(path => Path.GetFileName(path).All(char.IsAsciiDigit))
            .Sum(path =>
            {
                try
                {
                    string[] status = File.ReadAllLines(Path.Combine(path, "status"));
                    return Field(status, "Uid").Split('\t')[0] == user ? int.Parse(Field(status, "Threads"), CultureInfo.InvariantCulture) : 0;
                }
                catch (IOException)
                {
                    return 0;
                }
            });

        static string Field(string[] lines, string name) => lines.First(line => line.StartsWith(name + ":", StringComparison.Ordinal))[(name.Length + 1)..].Trim();
    }

    private static void MakeReadable(string folder)
    {
        foreach (string path in Directory.EnumerateDirectories(folder, "*", SearchOption.AllDirectories).Prepend(folder))
        {
            File.SetUnixFileMode(path, File.GetUnixFileMode(path) | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        }

        foreach (string path in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
        {
            File.SetUnixFileMode(path, File.GetUnixFileMode(path) | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        }
    }
}
