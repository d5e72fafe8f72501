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

    /// <summary>Gets or sets the number of characters of all texts; <see langword="null"/> if the protocol does not report it.</summary>
    public long? CharacterCount { get; set; }

    /// <summary>Gets or sets whether <see cref="TokenCount"/> has the tokens of all texts. The tokens of a large request are counted while it is answered.</summary>
    public bool HasAllTokens { get; set; }

    /// <summary>Gets or sets the time from the request to the last byte of its body.</summary>
    public TimeSpan ReadTime { get; set; }

    /// <summary>Gets or sets the time from the request to the end of its parsing.</summary>
    public TimeSpan ParseTime { get; set; }

    /// <summary>Gets or sets the time for which the request waited for the load of the model.</summary>
    public TimeSpan LoadTime { get; set; }

    /// <summary>
    /// Gets or sets the time from the first call of the pool to its first text being computed; <see langword="null"/> for a request that does
    /// not queue.
    /// </summary>
    public TimeSpan? QueueTime { get; set; }

    /// <summary>
    /// Gets or sets the time of tokenization in the first call of the pool; <see langword="null"/> for a request that does not queue. Most of it
    /// is a part of <see cref="QueueTime"/>.
    /// </summary>
    public TimeSpan? TokenizeTime { get; set; }

    /// <summary>Gets or sets the time of the first call of the pool without <see cref="QueueTime"/>.</summary>
    public TimeSpan EmbedTime { get; set; }

    /// <summary>Gets the time since the request arrived.</summary>
    public TimeSpan Elapsed => Stopwatch.GetElapsedTime(start);

    /// <summary>Adds the tokens and times of a call of the pool.</summary>
    /// <param name="summary">The summary of the call.</param>
    /// <param name="elapsed">The time of the call.</param>
    /// <param name="isFirstOfModel">Whether the call waited for the load of the model.</param>
    public void Add(StellaCallSummary summary, TimeSpan elapsed, bool isFirstOfModel)
    {
        TimeSpan wait = summary.QueueTime;
        LoadTime += isFirstOfModel ? wait : TimeSpan.Zero;
        QueueTime = QueueTime.GetValueOrDefault() + (isFirstOfModel ? TimeSpan.Zero : wait);
        TokenizeTime = TokenizeTime.GetValueOrDefault() + summary.TokenizationTime;
        EmbedTime += elapsed - wait;
        TokenCount += summary.TokenCount;
    }
}
