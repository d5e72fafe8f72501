using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>What a run of <c>stella</c> gave.</summary>
internal sealed record StellaResult(int ExitCode, string Output, string Error)
{
    /// <summary>Rows of JSON, one a line.</summary>
    public JsonElement[] Rows => [.. Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Parse)];

    public static JsonElement Parse(string json)
    {
        using var document = JsonDocument.Parse(json);
        return document.RootElement.Clone();
    }
}

/// <summary>Runs <c>stella</c> as a person does: as a process.</summary>
internal static class StellaProcess
{
    /// <summary>Memory that <see cref="RunLimited"/> gives; a good run of a tiny model takes a third.</summary>
    private const int LimitKilobytes = 200_000;

    /// <summary>The folder that the command line was built into.</summary>
    public static string Folder { get; } = Path.Combine(SourceTree.Root, "src/StellaInterop.Cli/bin", SourceTree.Configuration, "net10.0");

    public static StellaResult Run(params string[] arguments) => RunIn(Folder, null, arguments);

    public static StellaResult RunWithInput(string input, params string[] arguments) =>
        RunIn(Folder, Encoding.UTF8.GetBytes(input), arguments);

    /// <summary>Runs with variables of the environment set, or taken away where they are null.</summary>
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

    /// <summary>Runs in <see cref="LimitKilobytes"/> of memory: a run that wants more fails.</summary>
    /// <remarks>
    /// What is limited is memory that can be written and is not shared, committed and not only reserved. Linux counts it; on
    /// other systems nothing is limited.
    /// </remarks>
    public static StellaResult RunLimited(params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(Folder, arguments);
        // A stack for each of a hundred processors would be counted too.
        start.Environment["DOTNET_PROCESSOR_COUNT"] = "2";
        if (OperatingSystem.IsLinux())
        {
            StartBy(start, "/bin/sh", "-c", $"ulimit -c 0; ulimit -d {LimitKilobytes}; exec \"$@\"", "sh");
        }

        using Process process = Process.Start(start)!;
        return Finish(process, null, arguments, TimeSpan.FromSeconds(30));
    }

    /// <summary>Runs a script of bash in which <c>stella</c> is the command.</summary>
    public static StellaResult RunScript(string script)
    {
        ProcessStartInfo start = StartInfo(Folder, []);
        string definition = $"stella() {{ '{start.FileName}' '{start.ArgumentList[0]}' \"$@\"; }}";
        start.FileName = "bash";
        start.ArgumentList.Clear();
        Array.ForEach(["-c", $"{definition}\n{script}"], start.ArgumentList.Add);
        using Process process = Process.Start(start)!;
        return Finish(process, null, [script], TimeSpan.FromMinutes(1));
    }

    /// <summary>Starts it as a terminal would, for a test that does something meanwhile.</summary>
    public static Process Start(IReadOnlyDictionary<string, string?> variables, params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(Folder, arguments, variables);
        if (OperatingSystem.IsLinux())
        {
            // What a shell starts in the background ignores Ctrl+C, and so does all that it starts in its turn.
            StartBy(start, "env", "--default-signal=INT");
        }

        return Process.Start(start)!;
    }

    /// <summary>Runs on a terminal of 200 columns, and returns what is written to it: output and bars, with control characters.</summary>
    public static string RunOnTerminal(params string[] arguments) => RunOnTerminal(new Dictionary<string, string?>(), arguments);

    /// <summary>Does the same with variables of the environment.</summary>
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

    /// <summary>Has another program start it in its own place.</summary>
    private static void StartBy(ProcessStartInfo start, string program, params string[] arguments)
    {
        string[] command = [start.FileName, .. start.ArgumentList];
        start.FileName = program;
        start.ArgumentList.Clear();
        Array.ForEach([.. arguments, .. command], start.ArgumentList.Add);
    }

    private static ProcessStartInfo StartInfo(
        string folder, string[] arguments, IReadOnlyDictionary<string, string?>? variables = null)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        var start = new ProcessStartInfo(dotnet, [Path.Combine(folder, "stella.dll"), .. arguments])
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

    /// <summary>Waits for the end, and looks for what would control a terminal.</summary>
    private static StellaResult Finish(Process process, byte[]? input, string[] arguments, TimeSpan? patience = null)
    {
        StellaResult result = Collect(process, input, arguments, patience);
        Assert.That((result.Output + result.Error).Where(Controls), Is.Empty, "control characters on the terminal");
        return result;
    }

    private static StellaResult Collect(Process process, byte[]? input, string[] arguments, TimeSpan? patience = null)
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
                // A run that refuses its first line does not read the rest.
            }
        }

        if (!process.WaitForExit(patience ?? TimeSpan.FromMinutes(5)))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"stella {string.Join(' ', arguments)} hangs");
        }

        return new StellaResult(process.ExitCode, output.Result, error.Result);
    }

    /// <summary>Whether a terminal obeys a character, or shows text in another order because of it. Line breaks and tabs are layout.</summary>
    private static bool Controls(char c) =>
        (char.IsControl(c) && c is not ('\n' or '\t'))
        || c is '\u2028' or '\u2029' or '\u061C' or '\u200E' or '\u200F' or (>= '\u202A' and <= '\u202E') or (>= '\u2066' and <= '\u2069');
}
