using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using StellaInterop.Tests;

namespace StellaInterop.Samples.Tests;

/// <summary>Runs a sample as a process.</summary>
internal sealed class SampleProcess : IDisposable
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(60);

    private readonly ConcurrentQueue<string> lines = new();
    private readonly Process process;

    private SampleProcess(Process process)
    {
        this.process = process;
        process.OutputDataReceived += (_, line) => lines.Enqueue(line.Data ?? string.Empty);
        process.ErrorDataReceived += (_, line) => lines.Enqueue(line.Data ?? string.Empty);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public string Log => string.Join('\n', lines);

    public static SampleProcess Start(string sample, string program, params string[] arguments) =>
        new(Process.Start(StartInfo(sample, program, arguments))!);

    /// <summary>Runs a sample to its end with text on standard input.</summary>
    public static (int ExitCode, string Output, string Error) Run(string sample, string program, string input, params string[] arguments) =>
        Run(StartInfo(sample, program, arguments), Encoding.UTF8.GetBytes(input));

    /// <summary>Runs a sample to its end with bytes on standard input.</summary>
    public static (int ExitCode, string Output, string Error) Run(string sample, string program, byte[] input, params string[] arguments) =>
        Run(StartInfo(sample, program, arguments), input);

    /// <summary>Runs a sample to its end under a limit of the shell, such as <c>ulimit -f 100</c>.</summary>
    public static (int ExitCode, string Output, string Error) RunLimited(string sample, string program, string limit, params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(sample, program, arguments);
        string[] command = [start.FileName, .. start.ArgumentList];
        start.FileName = "/bin/sh";

        // Write-xor-execute uses a sparse file of 256 GB, which would exceed a limit on file sizes.
        start.Environment["DOTNET_EnableWriteXorExecute"] = "0";
        start.ArgumentList.Clear();
        foreach (string word in (string[])["-c", $"{limit}; exec \"$@\"", "sh", .. command])
        {
            start.ArgumentList.Add(word);
        }

        return Run(start, []);
    }

    private static (int ExitCode, string Output, string Error) Run(ProcessStartInfo start, byte[] input)
    {
        using Process process = Process.Start(start)!;
        process.StandardInput.BaseStream.Write(input);
        process.StandardInput.Close();
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        Assert.That(process.WaitForExit(Timeout), Is.True, start.FileName);
        return (process.ExitCode, output, error.Result);
    }

    /// <summary>Waits until <paramref name="find"/> returns a value, for at most a minute.</summary>
    public async Task<T> UntilAsync<T>(Func<T?> find)
        where T : class
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Timeout && !process.HasExited; await Task.Delay(20))
        {
            if (find() is { } found)
            {
                return found;
            }
        }

        Assert.Fail($"{(process.HasExited ? $"The process ended with exit code {process.ExitCode}." : "The expected state was not reached in time.")}\n{Log}");
        throw new UnreachableException();
    }

    /// <summary>Waits until a condition is true or the process has ended, for at most a minute.</summary>
    public void Until(Func<bool> condition)
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Timeout && !process.HasExited && !condition();)
        {
            Thread.Sleep(1);
        }
    }

    /// <summary>Sends a signal and waits for the end of the process.</summary>
    /// <returns>The exit code.</returns>
    public int Signal(int signal)
    {
        _ = Kill(process.Id, signal);
        Assert.That(process.WaitForExit(Timeout), Is.True, Log);
        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>Sends SIGTERM, as a service manager does, and waits for the end of the process.</summary>
    public int Stop() => Signal(15);

    public void Dispose()
    {
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
        }

        process.Dispose();
    }

    private static ProcessStartInfo StartInfo(string sample, string program, string[] arguments)
    {
        string folder = Path.Combine(SourceTree.Root, "samples", sample, "bin", SourceTree.Configuration, "net10.0");
        var start = new ProcessStartInfo("dotnet", [Path.Combine(folder, $"{program}.dll"), .. arguments])
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment.Remove("STELLA_MODEL");
        return start;
    }

    [DllImport("libc", EntryPoint = "kill")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int process, int signal);
}
