using System.Diagnostics;
using System.Globalization;
using System.Net;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Load.Serving;

/// <summary>A server that runs as a process of its own, so that its memory and its processor time are those of the server alone.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(40);

    private readonly Process process;
    private readonly string log;

    private ServerProcess(Process process, string log, IPEndPoint address)
    {
        this.process = process;
        this.log = log;
        Address = address;
    }

    public IPEndPoint Address { get; }

    /// <summary>Gets the processor time of all threads.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            process.Refresh();
            return process.TotalProcessorTime;
        }
    }

    /// <summary>Gets the resident memory in bytes; 0 if the process has ended.</summary>
    public long ResidentBytes
    {
        get
        {
            if (process.HasExited)
            {
                return 0;
            }

            process.Refresh();
            return process.WorkingSet64;
        }
    }

    /// <summary>Starts <c>stella serve</c> on a free port and waits for its address. Its log goes to a file in the folder.</summary>
    /// <exception cref="BenchException">The server did not start. The message has the end of its log.</exception>
    public static async Task<ServerProcess> StartAsync(string folder, params IEnumerable<string> options)
    {
        string log = Path.Combine(folder, "server.log");
        // The shell is replaced by the server, whose log costs this process nothing.
        ProcessStartInfo serve = StellaTool.Command("serve", ["--urls", "http://127.0.0.1:0", .. options]);
        string[] command = ["-c", "exec \"$@\" 2>\"$0\"", log, serve.FileName, .. serve.ArgumentList];
        Process process = Process.Start(new ProcessStartInfo("/bin/sh", command) { RedirectStandardOutput = true })!;
        string? line = await process.StandardOutput.ReadLineAsync().ConfigureAwait(false);
        // "Serving NAME at http://127.0.0.1:PORT. Try:"
        if (line?.Split("http://", 2) is not [_, var rest] || !IPEndPoint.TryParse(rest[..rest.LastIndexOf(". ", StringComparison.Ordinal)], out IPEndPoint? address))
        {
            await process.WaitForExitAsync().ConfigureAwait(false);
            throw new BenchException($"The server did not start: {line} {await File.ReadAllTextAsync(log).ConfigureAwait(false)}");
        }

        return new ServerProcess(process, log, address);
    }

    /// <summary>Adds a key to a file of keys.</summary>
    /// <returns>The key.</returns>
    public static async Task<string> AddKeyAsync(string file, string name, params IEnumerable<string> options)
    {
        using Process keys = Process.Start(StellaTool.Command("keys", ["add", name, "--keys", file, .. options]))!;
        string output = await keys.StandardOutput.ReadToEndAsync().ConfigureAwait(false);
        await keys.WaitForExitAsync().ConfigureAwait(false);
        const string Prefix = "sk-stella-";
        return output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).FirstOrDefault(word => word.StartsWith(Prefix, StringComparison.Ordinal))
            ?? throw new BenchException($"`stella keys add {name}` printed no key.");
    }

    /// <summary>Ends the process at once, as a defect of the server would.</summary>
    public void Kill() => process.Kill();

    /// <summary>Ends the server as an operator does.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> StopAsync()
    {
        if (!process.HasExited)
        {
            using Process kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
            await kill.WaitForExitAsync().ConfigureAwait(false);
            using var timeout = new CancellationTokenSource(StopTimeout);
            await process.WaitForExitAsync(timeout.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!process.HasExited)
            {
                process.Kill();
                await process.WaitForExitAsync().ConfigureAwait(false);
            }
        }

        return process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        _ = await StopAsync().ConfigureAwait(false);
        process.Dispose();
    }

    /// <summary>Returns the last lines of the log.</summary>
    public string LogEnd() => string.Join('\n', File.ReadLines(log).TakeLast(5));
}
