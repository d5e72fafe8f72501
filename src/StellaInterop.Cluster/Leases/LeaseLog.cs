using System.Globalization;
using System.Text.Json;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Cluster.Leases;

/// <summary>Specifies the end of a lease.</summary>
internal enum LeaseEnd
{
    /// <summary>The lease has not ended.</summary>
    None,

    /// <summary>The node ended, was silent or failed. The lease counts as an attempt.</summary>
    Revoked,

    /// <summary>The node gave the lease back. It counts as no attempt.</summary>
    Released,

    /// <summary>The node committed the part.</summary>
    Committed,
}

/// <summary>Represents an entry of the log of a part: a lease, or the decision to halve the part.</summary>
/// <param name="Node">The node that has the lease.</param>
/// <param name="Machine">The machine of the node.</param>
/// <param name="IsHalved">Whether the part is halved. This entry is then the last one.</param>
internal sealed record LeaseEntry(string Node, string Machine, bool IsHalved = false);

/// <summary>Represents a lease as the log has it.</summary>
internal readonly record struct LoggedLease(int Epoch, LeaseEntry Entry, LeaseEnd End);

/// <summary>Keeps the leases of all parts in the output folder, so that they are known whatever ends.</summary>
/// <remarks>
/// <para>
/// The entries of a part have numbers, the epochs, and each is a file that is created only if it is not there. So two coordinators at once cannot
/// give the same epoch, and each sees in the log the leases of the other.
/// </para>
/// <para>
/// A lease ends by a second file, of which the first writer decides. The node links its part to that name before the part gets its own. Any other end of
/// the lease is a mark there. So a node that was silent for hours cannot commit, not even in the moment in which its lease
/// ends. The next epoch is given only after the end of the one before.
/// </para>
/// </remarks>
/// <param name="folder">The output folder.</param>
/// <param name="output">The output.</param>
/// <param name="leases">The folder of the leases, below the output folder.</param>
internal sealed class LeaseLog(IOutputFolder folder, JobOutput output, string leases = OutputNames.ClusterFolder)
{
    private const string EntryEnd = ".lease";
    private const string ClaimEnd = ".end";

    /// <summary>The first byte of a mark. No format of parts begins with it.</summary>
    private const byte MarkBegin = (byte)'!';

    private static readonly Dictionary<LeaseEnd, byte[]> Marks = new()
    {
        [LeaseEnd.Revoked] = "!revoked"u8.ToArray(),
        [LeaseEnd.Released] = "!released"u8.ToArray(),
    };

    /// <summary>Returns the name of the file that ends a lease.</summary>
    /// <param name="part">The part.</param>
    /// <param name="epoch">The epoch of the lease.</param>
    /// <param name="leases">The folder of the leases.</param>
    public static string ClaimOf(PartId part, int epoch, string leases = OutputNames.ClusterFolder) => NameOf(leases, part, epoch, ClaimEnd);

    /// <summary>Adds an entry.</summary>
    /// <returns><see langword="false"/> if the epoch is taken.</returns>
    public bool TryAdd(PartId part, int epoch, LeaseEntry entry)
    {
        using ITemporaryFile file = folder.CreateTemporary();
        using (var writer = new Utf8JsonWriter(file.Content))
        {
            writer.WriteStartObject();
            writer.WriteString("node", entry.Node);
            writer.WriteString("machine", entry.Machine);
            writer.WriteBoolean("halved", entry.IsHalved);
            writer.WriteEndObject();
        }

        if (entry.IsHalved)
        {
            file.Flush();
        }

        bool isAdded = folder.TryPublish(file, NameOf(leases, part, epoch, EntryEnd));
        if (entry.IsHalved)
        {
            // A lease that is lost with the power was of a process that ended. A half that is lost would come beside its whole.
            folder.FlushFolder(leases);
        }

        return isAdded;
    }

    /// <summary>Ends a lease, unless it has ended. Completes the commit of a node that ended in the middle of it.</summary>
    /// <param name="part">The part.</param>
    /// <param name="epoch">The epoch of the lease.</param>
    /// <param name="end">How the lease is to end.</param>
    /// <returns>How the lease ended.</returns>
    public LeaseEnd End(PartId part, int epoch, LeaseEnd end)
    {
        string claim = ClaimOf(part, epoch, leases);
        using (ITemporaryFile file = folder.CreateTemporary())
        {
            file.Content.Write(Marks[end]);
            file.Flush();
            if (!folder.TryPublish(file, claim))
            {
                end = ReadEnd(part, claim);
            }
        }

        folder.FlushFolder(leases);
        // Another coordinator deletes the claim of a part that is there, so a mark may come later.
        return output.IsCommitted(part) ? LeaseEnd.Committed : end;
    }

    /// <summary>Reads the logs of all parts.</summary>
    public IReadOnlyDictionary<PartId, IReadOnlyList<LoggedLease>> ReadAll()
    {
        var entries = new SortedDictionary<(PartId Part, int Epoch), LoggedLease>();
        string[] names = [.. folder.List(leases)];
        foreach (string name in names)
        {
            if (TryReadName(name, EntryEnd, out PartId part, out int epoch))
            {
                entries[(part, epoch)] = new LoggedLease(epoch, ReadEntry(name), LeaseEnd.None);
            }
        }

        foreach (string name in names)
        {
            if (TryReadName(name, ClaimEnd, out PartId part, out int epoch))
            {
                LeaseEntry entry = entries.TryGetValue((part, epoch), out LoggedLease logged) ? logged.Entry : new LeaseEntry("", "");
                entries[(part, epoch)] = new LoggedLease(epoch, entry, ReadEnd(part, $"{leases}/{name}"));
            }
        }

        return entries.GroupBy(entry => entry.Key.Part)
            .ToDictionary(group => group.Key, group => (IReadOnlyList<LoggedLease>)[.. group.Select(entry => entry.Value)]);
    }

    /// <summary>Deletes the log of a part that is committed.</summary>
    public void Forget(PartId part, int lastEpoch)
    {
        for (int epoch = lastEpoch; epoch > 0; epoch--)
        {
            folder.Delete(NameOf(leases, part, epoch, EntryEnd));
            folder.Delete(ClaimOf(part, epoch, leases));
        }
    }

    private LeaseEnd ReadEnd(PartId part, string claim)
    {
        var content = new byte[Marks.Values.Max(mark => mark.Length)];
        int length;
        try
        {
            using Stream file = folder.OpenRead(claim);
            length = file.ReadAtLeast(content, content.Length, throwOnEndOfStream: false);
        }
        catch (FileNotFoundException)
        {
            // Another coordinator knew that the part is there, and deleted the claim.
            return output.IsCommitted(part) ? LeaseEnd.Committed : LeaseEnd.None;
        }

        if (length > 0 && content[0] == MarkBegin)
        {
            return Marks.FirstOrDefault(mark => mark.Value.AsSpan().SequenceEqual(content.AsSpan(0, length)), new(LeaseEnd.Revoked, [])).Key;
        }

        _ = output.CommitClaimed(part, claim);
        return LeaseEnd.Committed;
    }

    private LeaseEntry ReadEntry(string name)
    {
        try
        {
            using Stream content = folder.OpenRead($"{leases}/{name}");
            using var document = JsonDocument.Parse(content);
            JsonElement entry = document.RootElement;
            return new LeaseEntry(
                entry.GetProperty("node").GetString() ?? "", entry.GetProperty("machine").GetString() ?? "", entry.GetProperty("halved").GetBoolean());
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FileNotFoundException)
        {
            // The power failed before the content was on the disk. The lease counts, and nobody renews it.
            return new LeaseEntry("", "");
        }
    }

    private static string NameOf(string leases, PartId part, int epoch, string end) =>
        string.Create(CultureInfo.InvariantCulture, $"{leases}/{part}-{epoch:D4}{end}");

    private static bool TryReadName(string name, string end, out PartId part, out int epoch)
    {
        (part, epoch) = (default, 0);
        int dash = name.IndexOf('-', StringComparison.Ordinal);
        return dash > 0
            && name.EndsWith(end, StringComparison.Ordinal)
            && PartId.TryParse(name.AsSpan(0, dash), out part)
            && int.TryParse(name.AsSpan()[(dash + 1)..^end.Length], NumberStyles.None, CultureInfo.InvariantCulture, out epoch);
    }
}
