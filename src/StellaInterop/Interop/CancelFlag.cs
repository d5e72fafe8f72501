namespace StellaInterop.Interop;

/// <summary>A number that native code polls, set when a token is cancelled.</summary>
internal readonly ref struct CancelFlag : IDisposable
{
    private readonly CancellationTokenRegistration registration;

    /// <param name="flag">Memory of one number that no other call uses meanwhile.</param>
    /// <param name="token">What sets it.</param>
    public CancelFlag(uint[] flag, CancellationToken token)
    {
        if (token.CanBeCanceled)
        {
            flag[0] = 0;
            Span = flag;
            registration = token.UnsafeRegister(static state => Volatile.Write(ref ((uint[])state!)[0], 1), flag);
        }
    }

    /// <summary>What native code polls; empty for a token that cannot be cancelled.</summary>
    public ReadOnlySpan<uint> Span { get; }

    /// <summary>Waits for a cancellation that is on its way: the flag is not written to after this.</summary>
    public void Dispose() => registration.Dispose();
}
