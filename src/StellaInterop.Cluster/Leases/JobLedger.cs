using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Cluster.Leases;

/// <summary>Represents a lease of a part.</summary>
/// <param name="Part">The part.</param>
/// <param name="Epoch">The number of the lease among those of the part.</param>
internal readonly record struct LeaseId(PartId Part, int Epoch);

/// <summary>Represents the answer to a node that asks for a part.</summary>
/// <param name="Lease">The lease; <see langword="null"/> if there is none now.</param>
/// <param name="Claim">The name of the file that ends the lease.</param>
/// <param name="IsRejection">Whether the rows of the part go to the rows at fault, and are not computed.</param>
internal readonly record struct LeaseAnswer(LeaseId? Lease, string? Claim = null, bool IsRejection = false);

/// <summary>Decides which node makes which part, and counts the attempts.</summary>
/// <remarks>
/// <para>
/// The folder has the truth, and the ledger is what one coordinator read there. A second coordinator wastes work and loses nothing: see
/// <see cref="LeaseLog"/>.
/// </para>
/// <para>
/// A part whose lease ended without a result is a suspect, because it may have ended its node. A suspect gets a node for itself, so that it takes no
/// other part with it, and another machine each time, if there is one. After some attempts it is halved, and its halves are suspects. A single row that
/// is left goes to the rows at fault.
/// </para>
/// <para>Not thread-safe.</para>
/// </remarks>
internal sealed class JobLedger
{
    private readonly JobOutput output;
    private readonly BulkPlan plan;
    private readonly LeaseLog log;
    private readonly LeasePolicy policy;
    private readonly TimeProvider clock;
    private readonly Safeguards safeguards;
    private readonly string leases;

    private readonly Dictionary<PartId, PartState> parts = [];
    private readonly SortedSet<PartId> open = [];
    private readonly SortedSet<PartId> suspects = [];
    private readonly Dictionary<PartId, PartState> leased = [];

    private long lastTick;

    /// <summary>The machine of each node that asks, and when it last did.</summary>
    private readonly Dictionary<string, (string Machine, long Seen)> nodes = new(StringComparer.Ordinal);

    /// <summary>The nodes that get no part until they have none, for a suspect.</summary>
    private readonly HashSet<string> draining = new(StringComparer.Ordinal);

    /// <summary>Reads the state of a job.</summary>
    /// <param name="folder">The output folder.</param>
    /// <param name="output">The output.</param>
    /// <param name="clock">The clock, of which only differences count.</param>
    /// <param name="policy">The times and limits.</param>
    /// <param name="safeguards">The safeguards; all but in tests.</param>
    /// <param name="leases">The folder of the leases, below the output folder.</param>
    public JobLedger(
        IOutputFolder folder,
        JobOutput output,
        TimeProvider clock,
        LeasePolicy policy,
        Safeguards safeguards = Safeguards.All,
        string leases = OutputNames.ClusterFolder)
    {
        this.leases = leases;
        this.output = output;
        this.clock = clock;
        this.policy = policy;
        this.safeguards = safeguards;
        plan = output.Manifest.Plan;
        lastTick = clock.GetTimestamp();
        log = new LeaseLog(folder, output, leases);
        IReadOnlyDictionary<PartId, IReadOnlyList<LoggedLease>> logs = log.ReadAll();
        // The parts are listed after the logs, which may complete a commit.
        PartSet committed = output.ReadCommitted();
        ErrorCount = output.CountErrors(committed);
        foreach (PartId part in committed.Parts)
        {
            Count(part);
        }

        for (int chunk = 0; chunk < plan.Chunks.Count; chunk++)
        {
            Read(new PartId(chunk), committed, logs);
        }
    }

    /// <summary>Gets whether another coordinator gave a lease or halved a part. The ledger must be read again then.</summary>
    public bool IsStale { get; private set; }

    /// <summary>Gets whether all rows have their parts.</summary>
    public bool IsDone => parts.Count == 0;

    public long DoneRows { get; private set; }

    /// <summary>Gets the estimated tokens of the parts that are there.</summary>
    public long DoneTokens { get; private set; }

    /// <summary>Gets the rows at fault.</summary>
    public long ErrorCount { get; private set; }

    public int SuspectCount => suspects.Count;

    /// <summary>Gets the number of parts that are not there.</summary>
    public int MissingCount => parts.Count;

    /// <summary>Gives a part to a node.</summary>
    /// <exception cref="IOException">The folder cannot be written; nothing has changed.</exception>
    public LeaseAnswer Take(string node, string machine)
    {
        long now = clock.GetTimestamp();
        nodes[node] = (machine, now);
        PartState[] held = [.. leased.Values.Where(state => state.Lease!.Node == node)];
        if (held.Length >= policy.LeasesOfNode || held.Any(IsAlone))
        {
            return default;
        }

        if (suspects.Select(part => parts[part]).FirstOrDefault(state => IsFor(state, machine)) is { } suspect)
        {
            if (held.Length == 0 || IsRejected(suspect))
            {
                draining.Remove(node);
                return Give(suspect, node, machine, now);
            }

            if (draining.Contains(node) || draining.Count < suspects.Count)
            {
                draining.Add(node);
                return default;
            }
        }
        else
        {
            draining.Remove(node);
        }

        // At the end each node has one part, so that all end together.
        bool isEnd = open.Count < ActiveNodes().Count();
        return open.Count == 0 || (isEnd && held.Length > 0) ? default : Give(parts[open.Min], node, machine, now);
    }

    /// <summary>Renews the leases of a node.</summary>
    /// <returns>The leases that the node does not have any more.</returns>
    public IReadOnlyList<LeaseId> Renew(string node, string machine, IReadOnlyCollection<LeaseId> leases)
    {
        long now = clock.GetTimestamp();
        nodes[node] = (machine, now);
        foreach (PartState state in leased.Values.Where(state => state.Lease!.Node == node).ToArray())
        {
            Lease lease = state.Lease!;
            if (leases.Contains(new LeaseId(state.Part, lease.Epoch)))
            {
                lease.Renewed = now;
            }
            else if (clock.GetElapsedTime(lease.Given, now) > policy.RenewTime)
            {
                // The node never heard of the lease.
                End(state, LeaseEnd.Released);
            }
        }

        return [.. leases.Where(id => !Has(node, id))];
    }

    /// <summary>Records that a node made a part.</summary>
    /// <param name="id">The lease.</param>
    /// <param name="errors">The rows at fault of the part.</param>
    /// <returns>The part; <see langword="null"/> if it was known to be there.</returns>
    public PartState? Done(LeaseId id, long errors)
    {
        if (!parts.TryGetValue(id.Part, out PartState? state))
        {
            return null;
        }

        Remove(state, errors);
        return state;
    }

    /// <summary>Gives a lease back.</summary>
    /// <param name="node">The node.</param>
    /// <param name="id">The lease.</param>
    /// <param name="isAttempt">Whether the node could not compute the part.</param>
    public void Return(string node, LeaseId id, bool isAttempt)
    {
        if (Has(node, id))
        {
            End(leased[id.Part], isAttempt ? LeaseEnd.Revoked : LeaseEnd.Released);
        }
    }

    /// <summary>Takes the leases of a node that has ended.</summary>
    public void NodeEnded(string node)
    {
        nodes.Remove(node);
        draining.Remove(node);
        foreach (PartState state in leased.Values.Where(state => state.Lease!.Node == node).ToArray())
        {
            Revoke(state);
        }
    }

    /// <summary>Takes back the leases of a node that leaves in order, those that it did not hear of included.</summary>
    public void NodeLeft(string node)
    {
        nodes.Remove(node);
        draining.Remove(node);
        foreach (PartState state in leased.Values.Where(state => state.Lease!.Node == node).ToArray())
        {
            End(state, LeaseEnd.Released);
        }
    }

    /// <summary>Ends the leases that were not renewed. It is called about each second.</summary>
    public void Tick()
    {
        long now = clock.GetTimestamp();
        bool wasStopped = clock.GetElapsedTime(lastTick, now) > policy.RenewTime;
        lastTick = now;
        if (wasStopped)
        {
            // This process was stopped, and heard no renewals meanwhile.
            foreach (PartState state in leased.Values)
            {
                state.Lease!.Renewed = now;
            }
        }

        foreach (PartState state in leased.Values.ToArray())
        {
            if (state.Lease!.Ending != LeaseEnd.None)
            {
                TryEnd(state);
            }
            else if (clock.GetElapsedTime(state.Lease.Renewed, now) > policy.LeaseTime)
            {
                Revoke(state);
            }
        }

        foreach (string silent in nodes.Where(node => !IsActive(node.Value.Seen, now)).Select(node => node.Key).ToArray())
        {
            nodes.Remove(silent);
            draining.Remove(silent);
        }
    }

    /// <summary>Lists the leases that have not ended: the part, its node, and the attempts before.</summary>
    public IEnumerable<(LeaseId Id, string Node, int Attempts)> Leases() =>
        leased.Values.Select(state => (new LeaseId(state.Part, state.Epoch), state.Lease!.Node, state.Attempts));

    private void Read(PartId part, PartSet committed, IReadOnlyDictionary<PartId, IReadOnlyList<LoggedLease>> logs)
    {
        Chunk chunk = plan.Chunks[part.Chunk];
        long rows = part.RowsOf(chunk.RowCount).Count;
        IReadOnlyList<LoggedLease> logged = logs.GetValueOrDefault(part, []);
        if (rows == 0 || committed.Covers(part))
        {
            // The leases of a part whose halves are there stay: their ends keep late writers of the whole out.
            if (logged.Count > 0 && committed.Contains(part))
            {
                Forget(part, logged[^1].Epoch);
            }

            return;
        }

        bool isHalved = committed.HasHalvesOf(part) || (logged.Count > 0 && logged[^1].Entry.IsHalved);
        if (isHalved)
        {
            Read(part.Half(second: false), committed, logs);
            Read(part.Half(second: true), committed, logs);
            return;
        }

        var state = new PartState(part, rows, part.ShareOf(chunk.Tokens, chunk.RowCount));
        parts.Add(part, state);
        foreach (LoggedLease lease in logged)
        {
            state.Epoch = lease.Epoch;
            if (lease.End == LeaseEnd.Revoked && Has(Safeguards.AttemptCount))
            {
                AddAttempt(state, lease.Entry.Machine);
            }
        }

        if (logged.Count > 0 && logged[^1] is { End: LeaseEnd.None } last)
        {
            // The node may be at work, so the lease gets all of its time again.
            long now = clock.GetTimestamp();
            state.Lease = new Lease(last.Entry.Node, last.Entry.Machine, last.Epoch) { Given = now, Renewed = now };
            leased.Add(part, state);
        }
        else
        {
            Reopen(state);
        }
    }

    /// <summary>Gives a part, and writes the lease into the log before.</summary>
    private LeaseAnswer Give(PartState state, string node, string machine, long now)
    {
        int epoch = state.Epoch + 1;
        if (!log.TryAdd(state.Part, epoch, new LeaseEntry(node, machine)))
        {
            IsStale = true;
            return default;
        }

        bool isRejection = IsRejected(state);
        state.Epoch = epoch;
        state.Lease = new Lease(node, machine, epoch) { IsRejection = isRejection, Given = now, Renewed = now };
        open.Remove(state.Part);
        suspects.Remove(state.Part);
        leased.Add(state.Part, state);
        return new LeaseAnswer(new LeaseId(state.Part, epoch), LeaseLog.ClaimOf(state.Part, epoch, leases), isRejection);
    }

    private void Revoke(PartState state) => End(state, Has(Safeguards.AttemptCount) ? LeaseEnd.Revoked : LeaseEnd.Released);

    /// <summary>Ends a lease. If the folder could not be written before, the first reason for its end counts.</summary>
    private void End(PartState state, LeaseEnd end)
    {
        if (state.Lease!.Ending == LeaseEnd.None)
        {
            state.Lease.Ending = end;
        }

        TryEnd(state);
    }

    /// <summary>Ends a lease. If the folder cannot be written now, a later tick tries again.</summary>
    private void TryEnd(PartState state)
    {
        Lease lease = state.Lease!;
        LeaseEnd end;
        long errors = 0;
        try
        {
            end = log.End(state.Part, lease.Epoch, lease.Ending);
            errors = end == LeaseEnd.Committed ? output.CountErrors(new PartSet(plan, [state.Part])) : 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return;
        }

        if (end == LeaseEnd.Committed)
        {
            Remove(state, errors);
            return;
        }

        leased.Remove(state.Part);
        state.Lease = null;
        if (end == LeaseEnd.Revoked)
        {
            AddAttempt(state, lease.Machine);
        }

        Reopen(state);
    }

    private static void AddAttempt(PartState state, string machine)
    {
        state.Attempts++;
        state.Machines.Add(machine);
    }

    /// <summary>Puts a part that nobody has where it belongs, and halves it if it had its attempts.</summary>
    private void Reopen(PartState state)
    {
        if (state.Rows > 1 && state.Attempts >= AttemptsOf(state))
        {
            Halve(state);
        }
        else
        {
            (state.IsSuspect ? suspects : open).Add(state.Part);
        }
    }

    private void Halve(PartState state)
    {
        try
        {
            if (!log.TryAdd(state.Part, state.Epoch + 1, new LeaseEntry("", "", IsHalved: true)))
            {
                IsStale = true;
                return;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is halved after the next attempt.
            suspects.Add(state.Part);
            return;
        }

        if (output.IsCommitted(state.Part))
        {
            // Another coordinator gave the lease of this epoch, and has forgotten it with the part, which came after this one had looked.
            IsStale = true;
            return;
        }

        parts.Remove(state.Part);
        foreach (bool second in (bool[])[false, true])
        {
            PartId half = state.Part.Half(second);
            Chunk chunk = plan.Chunks[half.Chunk];
            var halved = new PartState(half, half.RowsOf(chunk.RowCount).Count, half.ShareOf(chunk.Tokens, chunk.RowCount));
            parts.Add(half, halved);
            Reopen(halved);
        }
    }

    /// <summary>Counts a part that is there.</summary>
    private void Remove(PartState state, long errors)
    {
        Drop(state);
        Count(state.Part);
        ErrorCount += errors;
        Forget(state.Part, state.Epoch);
    }

    /// <summary>Deletes the files of the leases of a part that is there.</summary>
    private void Forget(PartId part, int lastEpoch)
    {
        try
        {
            log.Forget(part, lastEpoch);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The end of the job deletes the files.
        }
    }

    private void Drop(PartState state)
    {
        parts.Remove(state.Part);
        open.Remove(state.Part);
        suspects.Remove(state.Part);
        leased.Remove(state.Part);
    }

    private void Count(PartId part)
    {
        Chunk chunk = plan.Chunks[part.Chunk];
        DoneRows += part.RowsOf(chunk.RowCount).Count;
        DoneTokens += part.ShareOf(chunk.Tokens, chunk.RowCount);
    }

    /// <summary>Returns whether a suspect may go to a machine: one that has not tried it, if such a machine asks.</summary>
    private bool IsFor(PartState state, string machine) =>
        IsRejected(state) || !state.Machines.Contains(machine) || ActiveNodes().All(node => state.Machines.Contains(node.Machine));

    private bool IsAlone(PartState state) => state.IsSuspect && !state.Lease!.IsRejection;

    private bool IsRejected(PartState state) => state.Rows == 1 && state.Attempts >= AttemptsOf(state);

    private int AttemptsOf(PartState state) => policy.AttemptsOf(state.Part.Halves.Length > 0, state.Rows);

    private bool Has(string node, LeaseId id) =>
        leased.TryGetValue(id.Part, out PartState? state)
        && state.Lease is { Ending: LeaseEnd.None } lease
        && lease.Epoch == id.Epoch
        && lease.Node == node;

    private bool Has(Safeguards safeguard) => safeguards.HasFlag(safeguard);

    private IEnumerable<(string Machine, long Seen)> ActiveNodes()
    {
        long now = clock.GetTimestamp();
        return nodes.Values.Where(node => IsActive(node.Seen, now));
    }

    private bool IsActive(long seen, long now) => clock.GetElapsedTime(seen, now) <= policy.LeaseTime;
}
