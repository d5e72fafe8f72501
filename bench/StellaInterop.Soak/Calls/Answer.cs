namespace StellaInterop.Soak.Calls;

/// <summary>The answer to a call.</summary>
/// <param name="Outcome">Name of the outcome, as in the meter.</param>
/// <param name="Value">Result of a completed call.</param>
/// <param name="Error">Error of a call that was not completed.</param>
/// <param name="Seconds">Time from the call to its answer.</param>
internal readonly record struct Answer<T>(string Outcome, T? Value, Exception? Error, double Seconds)
{
    public bool IsCompleted => Outcome == Outcomes.Completed;
}
