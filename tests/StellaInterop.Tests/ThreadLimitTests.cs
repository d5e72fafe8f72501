using System.Diagnostics;
using System.Globalization;
using System.Runtime.Versioning;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>A process at the limit of its user on threads, as in a container: set by the system, and nothing is pretended.</summary>
[Platform("Linux")]
[SupportedOSPlatform("linux")]
internal sealed class ThreadLimitTests
{
    /// <summary>Threads for the runtime, and some more for the program to take and give back.</summary>
    private const int Threads = 60;

    /// <summary>A user id that nobody has: its threads are those of this program alone.</summary>
    private const int Nobody = 61_234;

    [Test]
    public void A_process_without_threads_answers_every_call_by_type_and_frees_everything()
    {
        using var folder = new TemporaryFolder();
        folder.Take(Path.GetDirectoryName(typeof(ChildProgram).Assembly.Location)!);
        MakeReadable(folder.Path);

        // The shipped model lies beside the program.
        using Process process = Process.Start(Limited(folder.File("StellaInterop.Tests.dll"), folder.File("stella-mini")))!;
        string output = ChildProgram.OutputOf(process);
        int[] counts = [.. output.Split(' ').Select(number => int.Parse(number, CultureInfo.InvariantCulture))];
        TestContext.Out.WriteLine($"answered, refused, panicked: {output}");
        Assert.That(counts, Has.Length.EqualTo(3).And.All.Positive, "calls that were answered, refused, and lost to a panic");
    }

    /// <summary>The program under its limit. The limit binds root not at all, so root becomes somebody else first.</summary>
    private static ProcessStartInfo Limited(string program, string model)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        bool isRoot = Environment.IsPrivilegedProcess;
        int limit = Threads + (isRoot ? 0 : PresentThreads());
        string[] command = ["prlimit", $"--nproc={limit}", dotnet, "exec", program, FewThreads.Command, model];
        string id = Nobody.ToString(CultureInfo.InvariantCulture);
        string[] whole = isRoot ? ["setpriv", "--reuid", id, "--regid", id, "--clear-groups", .. command] : command;
        var start = new ProcessStartInfo(whole[0], whole[1..]) { RedirectStandardOutput = true, RedirectStandardError = true };
        // Threads of the runtime that it could do without, and a place to write that it may not have.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        start.Environment["DOTNET_gcServer"] = "0";
        start.Environment["DOTNET_gcConcurrent"] = "0";
        // Idle threads of its pool stay: it cannot have them again.
        start.Environment["DOTNET_ThreadPool_ThreadsToKeepAlive"] = "9";
        return start;
    }

    /// <summary>Threads of the user that runs the tests.</summary>
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
