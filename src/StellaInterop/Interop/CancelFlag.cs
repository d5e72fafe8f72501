namespace StellaInterop.Interop;

/// <summary>A number that native code polls, set when a token is cancelled.</summary>
internal readonly struct CancelFlag : IDisposable
{
    private readonly uint[]? flag;
    private readonly CancellationTokenRegistration registration;

    public CancelFlag(CancellationToken token)
    {
        if (token.CanBeCanceled)
        {
            // Pinned where it is allocated, so that it stands still for the length of the call.
            flag = GC.AllocateArray<uint>(1, pinned: true);
            registration = token.UnsafeRegister(static state => Volatile.Write(ref ((uint[])state!)[0], 1), flag);
        }
    }

    /// <summary>What native code polls; empty for a token that cannot be cancelled.</summary>
    public ReadOnlySpan<uint> Span => flag;

    public void Dispose() => registration.Dispose();
}
