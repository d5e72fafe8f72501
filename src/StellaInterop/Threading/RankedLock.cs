using System.Diagnostics;

namespace StellaInterop.Threading;

/// <summary>The order in which a thread takes the locks of a pool: each lock has a higher rank than the locks it already holds.</summary>
internal enum LockRank
{
    /// <summary>The close of the pool.</summary>
    Closing = 1,

    /// <summary>The state of the model: loading, loaded, in use.</summary>
    Lifetime,

    /// <summary>The workers of one model.</summary>
    Workers,

    /// <summary>The queue of texts.</summary>
    Queue,

    /// <summary>The accepted calls and their reserved tokens.</summary>
    Admission,

    /// <summary>One call: its answer and its leases.</summary>
    Call,

    /// <summary>The set of calls without an answer.</summary>
    OpenCalls,
}

/// <summary>
/// A lock with a place in the lock order of the pool. Debug builds assert the order, so a wrong order fails even if no deadlock happens.
/// </summary>
/// <remarks>
/// Locks that call no other code of the pool while they are held, such as the lock of a <see cref="Signal"/>, need no rank. No code of the
/// caller (loggers, listeners, clocks, memory) runs under any lock.
/// </remarks>
internal sealed class RankedLock(LockRank rank)
{
    private readonly Lock gate = new();

    /// <summary>Takes the lock. Dispose the scope to free it.</summary>
    public Scope Enter()
    {
        LockOrder.AssertHigher(rank);
        gate.Enter();
        LockOrder.Add(rank);
        return new Scope(this);
    }

    private void Exit()
    {
        LockOrder.Remove(rank);
        gate.Exit();
    }

    /// <summary>The scope in which a thread holds the lock.</summary>
    public readonly ref struct Scope(RankedLock owner)
    {
        public void Dispose() => owner.Exit();
    }
}

/// <summary>Tracks the ranks of the locks that the current thread holds, in debug builds only.</summary>
internal static class LockOrder
{
    /// <summary>The held ranks as bits.</summary>
    [ThreadStatic]
    private static int held;

    /// <summary>Fails the debug build if the thread holds a lock of the same or a higher rank.</summary>
    [Conditional("DEBUG")]
    public static void AssertHigher(LockRank rank) => Debug.Assert(
        IsHigher(held, rank), $"The lock of rank {rank} was taken under a lock of the same or a higher rank. Held ranks as bits: {held:b}.");

    [Conditional("DEBUG")]
    public static void Add(LockRank rank) => held |= 1 << (int)rank;

    [Conditional("DEBUG")]
    public static void Remove(LockRank rank) => held &= ~(1 << (int)rank);

    /// <summary>Returns whether a rank is higher than every rank of a set of bits.</summary>
    public static bool IsHigher(int held, LockRank rank) => held >> (int)rank == 0;
}
