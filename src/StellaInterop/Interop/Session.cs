namespace StellaInterop.Interop;

/// <summary>
/// A native session and the managed memory of the calls on it, which grows to what they need and stays. One call at a
/// time.
/// </summary>
internal sealed class Session(SessionHandle handle) : IDisposable
{
    public SessionHandle Handle { get; } = handle;

    public PackedTexts Texts { get; } = new();

    public TokenizedPack Tokens { get; } = new();

    /// <summary>For <see cref="Interop.CancelFlag"/>. Native code holds it during a call, so it lies where nothing is moved.</summary>
    public uint[] CancelFlag { get; } = GC.AllocateArray<uint>(1, pinned: true);

    public void Dispose() => Handle.Dispose();
}
