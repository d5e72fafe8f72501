using System.Diagnostics;

namespace StellaInterop.Server.Embedding;

/// <summary>The counts and times of one request, for headers, the access log and the metrics. Not thread-safe.</summary>
internal sealed class RequestReport
{
    private readonly long start = Stopwatch.GetTimestamp();

    /// <summary>Gets or sets the name of the model.</summary>
    public string? Model { get; set; }

    public int TextCount { get; set; }

    public long TokenCount { get; set; }

    public int TruncatedCount { get; set; }

    /// <summary>Gets or sets the time from the request to the last byte of its body.</summary>
    public TimeSpan ReadTime { get; set; }

    /// <summary>Gets or sets the time from the request to the end of its parsing.</summary>
    public TimeSpan ParseTime { get; set; }

    /// <summary>Gets or sets the time for which the request waited for the load of the model.</summary>
    public TimeSpan LoadTime { get; set; }

    /// <summary>Gets or sets the time from the first call of the pool to its first text being computed.</summary>
    public TimeSpan QueueTime { get; set; }

    /// <summary>Gets or sets the time of the first call of the pool without <see cref="QueueTime"/>.</summary>
    public TimeSpan EmbedTime { get; set; }

    /// <summary>Gets the time since the request arrived.</summary>
    public TimeSpan Elapsed => Stopwatch.GetElapsedTime(start);
}
