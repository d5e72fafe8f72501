namespace StellaInterop.Interop;

/// <summary>
/// The managed side of a cancellation: connects a <see cref="CancellationToken"/> to a number that a native forward pass polls.
/// </summary>
/// <remarks>
/// Cancelling the token runs a callback that writes 1 to the number. <c>stella_session_embed</c> and
/// <c>stella_session_embed_tokens</c> get the address of the number. The native type of the same name (stella-core, encoder)
/// polls it before each layer and ends the forward pass with the error Cancelled, which becomes an
/// <see cref="OperationCanceledException"/>.
/// </remarks>
internal readonly ref struct CancelFlag : IDisposable
{
    private readonly CancellationTokenRegistration registration;

    /// <param name="flag">A pinned array of one number. No other call may use it until the flag is disposed.</param>
    /// <param name="token">The token whose cancellation sets the number.</param>
    public CancelFlag(uint[] flag, CancellationToken token)
    {
        if (token.CanBeCanceled)
        {
            flag[0] = 0;
            Span = flag;
            registration = token.UnsafeRegister(static state => Volatile.Write(ref ((uint[])state!)[0], 1), flag);
        }
    }

    /// <summary>Gets the number that native code polls; empty for a token that cannot be cancelled.</summary>
    public ReadOnlySpan<uint> Span { get; }

    /// <summary>Ends the registration, and waits for a running callback: nothing writes to the number afterwards.</summary>
    public void Dispose() => registration.Dispose();
}
