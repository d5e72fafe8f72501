namespace StellaInterop.Interop;

/// <summary>Sets a number that native code polls when a <see cref="CancellationToken"/> is cancelled.</summary>
/// <remarks>
/// <para>Cancellation reaches the middle of a native forward pass in these steps:</para>
/// <list type="number">
/// <item><description>
/// The constructor registers a callback with the token, and the callback writes 1 to the flag. A pool uses no token here: its
/// <c>Batch.Cancel</c> writes the flag of a batch when no call wants a text of the batch any more.
/// </description></item>
/// <item><description>
/// <see cref="SessionHandle.Embed"/> passes the address of the flag to <c>stella_session_embed</c>.
/// </description></item>
/// <item><description>
/// In the crate stella-ffi, <c>args.rs</c> turns the address into a <c>CancelFlag</c> around an <c>AtomicU32</c>.
/// </description></item>
/// <item><description>
/// In the crate stella-core, <c>session.rs</c> passes the flag to the forward pass of the encoder.
/// </description></item>
/// <item><description>
/// The encoder, <c>cpu_encoder.rs</c>, checks the flag before every layer. If it is set, the forward pass ends with the error
/// <c>Cancelled</c>.
/// </description></item>
/// <item><description>
/// <see cref="NativeErrors"/> turns the error into an <see cref="OperationCanceledException"/>, and <see cref="SessionLease"/> adds the
/// token of the caller.
/// </description></item>
/// </list>
/// </remarks>
internal readonly ref struct CancelRegistration : IDisposable
{
    private readonly CancellationTokenRegistration registration;

    /// <param name="flag">An array of one number on the pinned heap. No other call may use it at the same time.</param>
    /// <param name="token">The token that sets the flag.</param>
    public CancelRegistration(uint[] flag, CancellationToken token)
    {
        if (token.CanBeCanceled)
        {
            flag[0] = 0;
            Span = flag;
            registration = token.UnsafeRegister(static state => Volatile.Write(ref ((uint[])state!)[0], 1), flag);
        }
    }

    /// <summary>Gets the flag that native code polls; empty for a token that cannot be cancelled.</summary>
    public ReadOnlySpan<uint> Span { get; }

    /// <summary>Waits for a callback that is running, so that the flag is not written after this.</summary>
    public void Dispose() => registration.Dispose();
}
