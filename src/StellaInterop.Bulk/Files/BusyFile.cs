namespace StellaInterop.Bulk.Files;

/// <summary>Waits for files that are in use for a moment.</summary>
/// <remarks>
/// Windows refuses to open or replace a file while another process replaces it, or while a virus scanner reads it. Other systems do not.
/// </remarks>
internal static class BusyFile
{
    /// <summary>The upper half of <see cref="Exception.HResult"/> for an error of Windows.</summary>
    public const int WindowsError = unchecked((int)0x80070000);

    private const int AccessDenied = 5;
    private const int SharingViolation = 32;
    private const int LockViolation = 33;
    private const int DeletePending = 303;

    /// <summary>The attempts take about two seconds in all.</summary>
    private const int Attempts = 20;

    private static readonly TimeSpan Delay = TimeSpan.FromMilliseconds(10);

    /// <summary>Runs an action, and again while the file is in use.</summary>
    /// <param name="action">The action.</param>
    /// <param name="wait">Waits for a time; <see langword="null"/> for <see cref="Thread.Sleep(TimeSpan)"/>.</param>
    public static T Retry<T>(Func<T> action, Action<TimeSpan>? wait = null)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return action();
            }
            catch (Exception e) when (attempt < Attempts && IsBusy(e))
            {
                (wait ?? Thread.Sleep)(attempt * Delay);
            }
        }
    }

    private static bool IsBusy(Exception error) =>
        error is UnauthorizedAccessException
        || (error is IOException && error.HResult is (WindowsError | AccessDenied) or (WindowsError | SharingViolation) or (WindowsError | LockViolation) or (WindowsError | DeletePending));
}
