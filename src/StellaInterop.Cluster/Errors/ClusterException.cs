namespace StellaInterop.Cluster.Errors;

/// <summary>Represents a fault of the cluster that a person can remedy. The message is one line: the fault and the remedy.</summary>
/// <param name="message">The message. Control characters, line breaks included, are escaped.</param>
/// <param name="innerException">The cause; <see langword="null"/> without one.</param>
internal sealed class ClusterException(string message, Exception? innerException = null) : Exception(Printable.Line(message), innerException);
