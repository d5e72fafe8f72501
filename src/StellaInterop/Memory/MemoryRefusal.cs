using System.Globalization;

namespace StellaInterop.Memory;

/// <summary>Creates the error of a reservation that does not fit. The message has every number of the decision.</summary>
internal static class MemoryRefusal
{
    public static StellaMemoryException Create(
        string owner, long bytes, long idleBytes, MemoryLedger ledger, MemoryReading reading, StellaMemoryStatus status)
    {
        MemoryLimit limit = reading.Tightest;
        string owners = Listing.Of([.. status.Owners.Select(other => $"{other.Name}: {Mebibytes(other.Bytes)}")]);
        string reserved = owners.Length == 0 ? "Nothing is reserved" : $"{Mebibytes(ledger.Reserved)} are reserved ({owners})";
        string idle = idleBytes == 0 ? "Nothing is idle" : $"Unloading all idle models would free {Mebibytes(idleBytes)}";
        return new StellaMemoryException(
            $"{owner} requested {Mebibytes(bytes)} of memory, and {Mebibytes(status.AvailableBytes)} are available. "
            + $"{reading.LimitSource} sets a limit of {Mebibytes(limit.Bytes)}, of which {Mebibytes(limit.Headroom)} are kept free as headroom "
            + $"and other processes use {Mebibytes(limit.UsedByOthers)}, so that this process may use {Mebibytes(limit.Usable)}. "
            + $"{reserved}, and the process uses {Mebibytes(ledger.UnreservedAt(reading.Measured))} besides. {idle}. "
            + "Choose a lower precision, fewer workers or smaller batches, dispose models that are not needed, or raise the limit.",
            bytes,
            status.AvailableBytes,
            status.LimitBytes,
            status.LimitSource);
    }

    /// <summary>Formats a size, rounded to a tenth. The properties of the exception have the exact numbers.</summary>
    private static string Mebibytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):F1} MiB");
}
