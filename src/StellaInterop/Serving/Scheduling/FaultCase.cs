namespace StellaInterop.Serving;

/// <summary>
/// The search for the cause of a failed batch: its halves are tried again until each faulty text is alone in a batch. Blame is assigned when
/// the search is over. Thread-safe: halves may run on several workers.
/// </summary>
internal sealed class FaultCase(Exception error)
{
    private int workersLost;
    private int isChecked;
    private volatile bool hasFaultyText;
    private volatile bool hasSuccess;
    private volatile bool hasUntried;

    /// <summary>The first error.</summary>
    public Exception Error { get; } = error;

    /// <summary>The number of batches of the search that are not done. Only the scheduler uses it, under its lock.</summary>
    public int OpenBatches { get; set; }

    /// <summary>The number of workers that broke during the search.</summary>
    public int WorkersLost => Volatile.Read(ref workersLost);

    /// <summary>Whether a text failed alone. Then the text is at fault, or the check shows that the model is.</summary>
    public bool HasFaultyText => hasFaultyText;

    /// <summary>Whether texts left the search untried, because no call wanted them any more. Any of them may be faulty.</summary>
    public bool HasUntried => hasUntried;

    public void RecordUntried() => hasUntried = true;

    public void RecordLostWorker() => Interlocked.Increment(ref workersLost);

    public void RecordSuccess() => hasSuccess = true;

    /// <summary>Records that a text failed alone.</summary>
    /// <returns>
    /// Whether the model has to be checked: no other text of the search was embedded, so nothing shows yet that the text is at fault. One
    /// check per search is enough.
    /// </returns>
    public bool RecordFaultyText()
    {
        hasFaultyText = true;
        return !hasSuccess && Interlocked.Exchange(ref isChecked, 1) == 0;
    }
}
