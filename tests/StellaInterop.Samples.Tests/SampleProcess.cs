using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
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
    public static (int ExitCode, string Output, string Error) Run(string sample, string program, string input, params string[] arguments)
    {
        using Process process = Process.Start(StartInfo(sample, program, arguments))!;
        process.StandardInput.Write(input);
        process.StandardInput.Close();
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        Assert.That(process.WaitForExit(Limit), Is.True, sample);
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

    /// <summary>Asks it to stop, as a service manager does, and waits until it has.</summary>
    public int Stop()
    {
        Assert.That(Kill(process.Id, 15), Is.Zero);
        Assert.That(process.WaitForExit(Limit), Is.True, Log);
        return process.ExitCode;
    }

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
        string folder = Path.Combine(Tree.Root, "samples", sample, "bin", Tree.Configuration, "net10.0");
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
