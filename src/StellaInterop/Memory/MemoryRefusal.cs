using System.Globalization;

namespace StellaInterop.Memory;

/// <summary>Tells why a reservation does not fit, with every number that the decision was made of.</summary>
internal static class MemoryRefusal
{
    public static StellaMemoryException Of(
        string owner, long bytes, long idleBytes, MemoryLedger ledger, MemoryReading reading, StellaMemoryStatus status)
    {
        MemoryLimit limit = reading.Tightest;
        string owners = Listing.Of([.. status.Owners.Select(one => $"{one.Name}: {Mebibytes(one.Bytes)}")]);
        string reserved = owners.Length == 0 ? "nothing is reserved" : $"{Mebibytes(ledger.Reserved)} are reserved ({owners})";
        string idle = idleBytes == 0 ? "Nothing is idle" : $"All that is idle would give {Mebibytes(idleBytes)}";
        return new StellaMemoryException(
            $"{owner} asked for {Mebibytes(bytes)} of memory and {Mebibytes(status.AvailableBytes)} are there. "
            + $"{reading.LimitSource} sets {Mebibytes(limit.Bytes)}, of which {Mebibytes(limit.Headroom)} are kept free and others "
            + $"use {Mebibytes(limit.Others)}: this process may have {Mebibytes(limit.Left)}. Of these {reserved}, and it uses "
            + $"{Mebibytes(ledger.UnreservedAt(reading.Measured))} beside that. {idle}. Take a smaller precision, fewer workers "
            + "or smaller batches, dispose of models that are not needed, or raise the limit",
            bytes,
            status);
    }

    /// <summary>Rounded up or down to a tenth; the exact numbers are the exception's properties.</summary>
    private static string Mebibytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):F1} MiB");
}
