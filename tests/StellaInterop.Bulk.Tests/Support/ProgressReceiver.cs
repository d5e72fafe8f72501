namespace StellaInterop.Bulk.Tests.Support;

/// <summary>Keeps the reports of the progress of a job.</summary>
/// <param name="reports">Receives the reports.</param>
/// <param name="stop">Is cancelled by the first one.</param>
internal sealed class ProgressReceiver(List<StellaBulkProgress> reports, CancellationTokenSource? stop = null) : IProgress<StellaBulkProgress>
{
    public void Report(StellaBulkProgress value)
    {
        lock (reports)
        {
            reports.Add(value);
        }

        stop?.Cancel();
    }
}
