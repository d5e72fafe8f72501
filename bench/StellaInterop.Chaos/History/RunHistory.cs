using System.Text.Encodings.Web;
using System.Text.Json;

namespace StellaInterop.Chaos.History;

/// <summary>Records what happened in a run, as JSON Lines on standard output and in a file. Thread-safe.</summary>
internal sealed class RunHistory : IDisposable
{
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly Lock gate = new();
    private readonly TimeProvider time;
    private readonly long start;
    private readonly StreamWriter file;
#pragma warning disable CA2213 // The output is that of the caller.
    private readonly TextWriter output;
#pragma warning restore CA2213

    public RunHistory(string path, TextWriter output, TimeProvider time)
    {
        Path = path;
        file = new StreamWriter(path) { AutoFlush = true };
        this.output = output;
        this.time = time;
        start = time.GetTimestamp();
    }

    public string Path { get; }

    /// <summary>Gets the time since the start of the run.</summary>
    public TimeSpan Elapsed => time.GetElapsedTime(start);

    /// <summary>Adds an event.</summary>
    /// <param name="actor">The name of the process or the resource.</param>
    /// <param name="name">The event.</param>
    /// <param name="detail">A number or a sentence about it.</param>
    public void Add(string actor, string name, string? detail = null)
    {
        lock (gate)
        {
            string line = JsonSerializer.Serialize(new { time = Math.Round(Elapsed.TotalSeconds, 2), actor, @event = name, detail }, Readable);
            file.WriteLine(line);
            output.WriteLine(line);
        }
    }

    public void Dispose() => file.Dispose();
}
