using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Represents the result of a run of <c>stella</c>.</summary>
internal sealed record StellaResult(int ExitCode, string Output, string Error)
{
    /// <summary>Gets the rows of JSON, one per line.</summary>
    public JsonElement[] Rows => [.. Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Parse)];

    public static JsonElement Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        return document.RootElement.Clone();
    }
}

/// <summary>Runs <c>stella</c> as a process.</summary>
internal static class StellaProcess
{
    /// <summary>The memory limit of <see cref="RunLimited"/>. A successful run of a tiny model needs a third of it.</summary>
    private const int LimitKilobytes = 200_000;

    /// <summary>The time in which a process must react.</summary>
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(1);

    /// <summary>
    /// The folder of a self-contained program, for a platform without the .NET SDK. The Cake task WindowsTests sets it.
    /// </summary>
    private static readonly string? Published = Environment.GetEnvironmentVariable("STELLA_PROGRAM") is { Length: > 0 } folder ? Path.GetFullPath(folder) : null;

    /// <summary>Gets the output folder of the command line.</summary>
    public static string Folder { get; } = Published
        ?? Path.Combine(SourceTree.Root, "src/StellaInterop.Cli/bin", SourceTree.Configuration, "net10.0");

    public static StellaResult Run(params string[] arguments) => RunIn(Folder, null, arguments);

    public static StellaResult RunWithInput(string input, params string[] arguments) =>
        RunIn(Folder, Encoding.UTF8.GetBytes(input), arguments);

    /// <summary>Runs with environment variables set, or removed if their value is <see langword="null"/>.</summary>
    public static StellaResult RunWith(IReadOnlyDictionary<string, string?> variables, params string[] arguments)
    {
        using Process process = Process.Start(StartInfo(Folder, arguments, variables))!;
        return Finish(process, null, arguments);
    }

    /// <summary>Runs the copy in <paramref name="folder"/>, with <paramref name="input"/> on standard input.</summary>
    public static StellaResult RunIn(string folder, byte[]? input, params string[] arguments)
    {
        using Process process = Process.Start(StartInfo(folder, arguments))!;
        return Finish(process, input, arguments);
    }

    /// <summary>
    /// Settings of the runtime for a run with a memory limit. The stacks of one thread per processor would count, and the first
    /// generation of the heap would grow to the size of the processor's cache, which is 300 MB on some.
    /// </summary>
    public static IReadOnlyList<(string Name, string Value)> LimitedRuntime { get; } = [("DOTNET_PROCESSOR_COUNT", "2"), ("DOTNET_GCgen0size", "0x1000000")];

    /// <summary>Runs with at most <see cref="LimitKilobytes"/> of memory.</summary>
    /// <remarks>
    /// The limit applies to committed memory that is writable and private. It is effective only on Linux.
    /// </remarks>
    public static StellaResult RunLimited(params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(Folder, arguments);
        foreach ((string name, string value) in LimitedRuntime)
        {
            start.Environment[name] = value;
        }

        if (OperatingSystem.IsLinux())
        {
            WrapCommand(start, "/bin/sh", "-c", $"ulimit -c 0; ulimit -d {LimitKilobytes}; exec \"$@\"", "sh");
        }

        using Process process = Process.Start(start)!;
        return Finish(process, null, arguments, TimeSpan.FromSeconds(30));
    }

    /// <summary>Runs a bash script in which <c>stella</c> is defined as a command, with a limit of its memory in kilobytes.</summary>
    public static StellaResult RunLimitedScript(int kilobytes, string script)
    {
        string settings = string.Join(' ', LimitedRuntime.Select(setting => $"{setting.Name}={setting.Value}"));
        return RunScript($"export {settings}; ulimit -c 0; ulimit -d {kilobytes}; {script}");
    }

    /// <summary>Runs a bash script in which <c>stella</c> is defined as a command.</summary>
    public static StellaResult RunScript(string script)
    {
        ProcessStartInfo start = StartInfo(Folder, []);
        string definition = $"stella() {{ {string.Join(' ', start.ArgumentList.Prepend(start.FileName).Select(part => $"'{part}'"))} \"$@\"; }}";
        start.FileName = "bash";
        start.ArgumentList.Clear();
        Array.ForEach(["-c", $"{definition}\n{script}"], start.ArgumentList.Add);
        using Process process = Process.Start(start)!;
        return Finish(process, null, [script], Timeout);
    }

    /// <summary>Starts a process as a terminal would, and does not wait for its end.</summary>
    public static Process Start(IReadOnlyDictionary<string, string?> variables, params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(Folder, arguments, variables);
        if (OperatingSystem.IsLinux())
        {
            // Background processes of a shell ignore SIGINT, and their children inherit this.
            WrapCommand(start, "env", "--default-signal=INT");
        }

        // Gives the process a console of its own, to which Signal can send Ctrl+C.
        start.CreateNoWindow = true;
        return Process.Start(start)!;
    }

    /// <summary>Sends a signal to a process of <see cref="Start"/>, or Ctrl+C on Windows, and waits for its end.</summary>
    public static void Signal(Process process, string signal)
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.That(signal, Is.EqualTo("INT"));
            WindowsConsole.Interrupt(process, Timeout);
        }
        else
        {
            Process.Start("kill", [$"-{signal}", $"{process.Id}"])!.WaitForExit();
            Assert.That(process.WaitForExit(Timeout));
        }
    }

    /// <summary>
    /// Runs on a terminal with 200 columns and returns all text on it, including progress bars and control characters.
    /// </summary>
    public static string RunOnTerminal(params string[] arguments) => RunOnTerminal(new Dictionary<string, string?>(), arguments);

    /// <summary>Runs on a terminal with environment variables.</summary>
    public static string RunOnTerminal(IReadOnlyDictionary<string, string?> variables, params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(Folder, arguments, variables);
        start.Environment["TERM"] = "xterm-256color";
        string command = string.Join(' ', start.ArgumentList.Prepend(start.FileName).Select(part => $"'{part}'"));
        start.FileName = "script";
        start.ArgumentList.Clear();
        Array.ForEach(["--quiet", "--return", "--command", $"stty columns 200; {command}", "/dev/null"], start.ArgumentList.Add);
        using Process process = Process.Start(start)!;
        StellaResult result = Collect(process, null, arguments);
        Assert.That(result.ExitCode, Is.Zero, result.Output + result.Error);
        return result.Output;
    }

    /// <summary>Lets another program execute the command.</summary>
    private static void WrapCommand(ProcessStartInfo start, string program, params string[] arguments)
    {
        string[] command = [start.FileName, .. start.ArgumentList];
        start.FileName = program;
        start.ArgumentList.Clear();
        Array.ForEach([.. arguments, .. command], start.ArgumentList.Add);
    }

    private static ProcessStartInfo StartInfo(
        string folder, string[] arguments, IReadOnlyDictionary<string, string?>? variables = null)
    {
        string[] command = Published is null
            ? [Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", Path.Combine(folder, "stella.dll")]
            : [Path.Combine(folder, OperatingSystem.IsWindows() ? "stella.exe" : "stella")];
        var start = new ProcessStartInfo(command[0], [.. command[1..], .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach (var (name, value) in variables ?? new Dictionary<string, string?>())
        {
            start.Environment[name] = value;
        }

        return start;
    }

    /// <summary>Waits for the end of the process and checks that its output has no control characters.</summary>
    private static StellaResult Finish(Process process, byte[]? input, string[] arguments, TimeSpan? timeout = null)
    {
        StellaResult result = Collect(process, input, arguments, timeout);
        Assert.That((result.Output + result.Error).Where(IsControl), Is.Empty, "control characters in the output");
        return result;
    }

    private static StellaResult Collect(Process process, byte[]? input, string[] arguments, TimeSpan? timeout = null)
    {
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        using (Stream stdin = process.StandardInput.BaseStream)
        {
            try
            {
                stdin.Write(input);
            }
            catch (IOException)
            {
                // A process that refuses its first line does not read the rest.
            }
        }

        if (!process.WaitForExit(timeout ?? TimeSpan.FromMinutes(5)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"stella {string.Join(' ', arguments)} did not end in time.");
        }

        return new StellaResult(process.ExitCode, Lines(output.Result), Lines(error.Result));

        // Messages have the line ends of the system.
        static string Lines(string text) => text.Replace(Environment.NewLine, "\n", StringComparison.Ordinal);
    }

    /// <summary>
    /// Returns whether a character controls a terminal or the direction of text. Line breaks and tabs are allowed.
    /// </summary>
    private static bool IsControl(char c) =>
        (char.IsControl(c) && c is not ('\n' or '\t'))
        || c is '\u2028' or '\u2029' or '\u061C' or '\u200E' or '\u200F' or (>= '\u202A' and <= '\u202E') or (>= '\u2066' and <= '\u2069');
}
