namespace StellaInterop.Soak.Calls;

/// <summary>Names of outcomes, as in the meter.</summary>
internal static class Outcomes
{
    public const string Completed = "completed";
    public const string Rejected = "rejected";
    public const string Cancelled = "cancelled";
    public const string TimedOut = "timed_out";
    public const string Failed = "failed";

    /// <summary>An error that the library does not document.</summary>
    public const string Unknown = "unknown";
}
