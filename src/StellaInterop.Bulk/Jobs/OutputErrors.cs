namespace StellaInterop.Bulk.Jobs;

/// <summary>Turns I/O errors of the output folder into errors of the job.</summary>
internal static class OutputErrors
{
    /// <summary>The number of ENOSPC.</summary>
    public const int NoSpace = 28;

    private const int LinuxQuota = 122;
    private const int MacQuota = 69;
    private const int WindowsDiskFull = unchecked((int)0x80070070);
    private const int WindowsHandleDiskFull = unchecked((int)0x80070027);

    /// <summary>Runs an action on an output folder.</summary>
    /// <param name="path">The path of the folder.</param>
    /// <param name="action">The action.</param>
    /// <exception cref="StellaBulkException">The system refused an operation.</exception>
    public static T Guarded<T>(string path, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw IsFull(e)
                ? new StellaBulkException(
                    StellaBulkErrorCode.OutputFull,
                    $"The disk of the output folder '{path}' is full. Make room and run the job again; it continues with the chunk that has no part.",
                    e)
                : new StellaBulkException(
                    StellaBulkErrorCode.OutputFailed,
                    $"The output folder '{path}' cannot be used: {e.Message.TrimEnd('.')}. Check the folder, its permissions and its disk, and run the job again; it continues.",
                    e);
        }
    }

    private static bool IsFull(Exception error) => OperatingSystem.IsWindows()
        ? error.HResult is WindowsDiskFull or WindowsHandleDiskFull
        : error.HResult == NoSpace || error.HResult == (OperatingSystem.IsMacOS() ? MacQuota : LinuxQuota);
}
