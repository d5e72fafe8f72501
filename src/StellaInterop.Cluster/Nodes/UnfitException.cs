namespace StellaInterop.Cluster.Nodes;

/// <summary>Represents the reason why a node takes nothing of a job now.</summary>
internal sealed class UnfitException : Exception
{
    /// <param name="message">The reason and the remedy.</param>
    /// <param name="pause">The time after which the node looks again.</param>
    /// <param name="innerException">The cause.</param>
    public UnfitException(string message, TimeSpan pause, Exception? innerException = null)
        : base(message, innerException) => Pause = pause;

    public TimeSpan Pause { get; }
}
