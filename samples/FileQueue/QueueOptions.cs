namespace StellaInterop.Samples.FileQueue;

/// <summary>Where the queue is.</summary>
internal sealed class QueueOptions
{
    /// <summary>The folder with <c>in</c>, <c>work</c>, <c>out</c> and <c>failed</c>, which are made when they are missing.</summary>
    public string Folder { get; set; } = string.Empty;

    /// <summary>How often an empty queue is looked at.</summary>
    public TimeSpan Poll { get; set; } = TimeSpan.FromSeconds(1);
}
