namespace StellaInterop.Cluster.Leases;

/// <summary>Provides the times and limits of leases.</summary>
internal sealed record LeasePolicy
{
    public static LeasePolicy Default { get; } = new();

    /// <summary>The time after which a lease ends that its node does not renew, such as that of a node that was stopped.</summary>
    public TimeSpan LeaseTime { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>The time from one renewal to the next. Several may be lost before a lease ends.</summary>
    public TimeSpan RenewTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>The leases of a node at a time: one part is computed, and the next one is read.</summary>
    public int LeasesOfNode { get; init; } = 2;

    /// <summary>The attempts at a chunk before it is halved. The first may have ended because of another chunk of the same node.</summary>
    public int ChunkAttempts { get; init; } = 3;

    /// <summary>The attempts at a half before it is halved. It had its node for itself, so one attempt tells enough.</summary>
    public int HalfAttempts { get; init; } = 1;

    /// <summary>The attempts at a single row before it goes to the rows at fault.</summary>
    public int RowAttempts { get; init; } = 3;

    /// <summary>Returns the attempts at a part before it is halved or rejected.</summary>
    /// <param name="isHalf">Whether it is a half of a chunk.</param>
    /// <param name="rows">Its number of rows.</param>
    public int AttemptsOf(bool isHalf, long rows) => rows == 1 ? RowAttempts : isHalf ? HalfAttempts : ChunkAttempts;
}
