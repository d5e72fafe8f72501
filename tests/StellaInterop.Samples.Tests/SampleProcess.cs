using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using StellaInterop.Tests;

namespace StellaInterop.Samples.Tests;

/// <summary>A sample that runs, as a process.</summary>
internal sealed class SampleProcess : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

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

    /// <summary>Runs one that ends by itself.</summary>
    public static (int ExitCode, string Output, string Error) Run(string sample, string program, string input, params string[] arguments) =>
        Run(StartInfo(sample, program, arguments), Encoding.UTF8.GetBytes(input));

    /// <summary>Runs one with any bytes on standard input.</summary>
    public static (int ExitCode, string Output, string Error) Run(string sample, string program, byte[] input, params string[] arguments) =>
        Run(StartInfo(sample, program, arguments), input);

    /// <summary>Runs one with a limit of the shell, such as <c>ulimit -f 100</c>.</summary>
    public static (int ExitCode, string Output, string Error) RunLimited(string sample, string program, string limit, params string[] arguments)
    {
        ProcessStartInfo start = StartInfo(sample, program, arguments);
        string[] command = [start.FileName, .. start.ArgumentList];
        start.FileName = "/bin/sh";

        // The runtime keeps code in a file of 256 GB, which a limit on files would not allow.
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
        Assert.That(process.WaitForExit(Limit), Is.True, start.FileName);
        return (process.ExitCode, output, error.Result);
    }

    /// <summary>Waits until something is so, for a minute at most.</summary>
    public async Task<T> UntilAsync<T>(Func<T?> look)
        where T : class
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Limit && !process.HasExited; await Task.Delay(20))
        {
            if (look() is { } found)
            {
                return found;
            }
        }

        Assert.Fail($"{(process.HasExited ? $"it ended with {process.ExitCode}" : "it did not come")}:\n{Log}");
        throw new UnreachableException();
    }

    /// <summary>Waits until something is so or it has ended, for a minute at most.</summary>
    public void Until(Func<bool> look)
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < Limit && !process.HasExited && !look();)
        {
            Thread.Sleep(1);
        }
    }

    /// <summary>Sends a signal, and waits until it has ended.</summary>
    /// <returns>Its exit code.</returns>
    public int Signal(int signal)
    {
        _ = Kill(process.Id, signal);
        Assert.That(process.WaitForExit(Limit), Is.True, Log);
        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>Asks it to stop, as a service manager does, and waits until it has.</summary>
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
