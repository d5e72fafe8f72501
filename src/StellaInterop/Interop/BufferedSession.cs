namespace StellaInterop.Interop;

/// <summary>
/// A native session with the managed buffers of its calls. The buffers grow to the largest call and are reused. Runs one call at a time.
/// </summary>
internal sealed class BufferedSession(SessionHandle handle) : IDisposable
{
    public SessionHandle Handle { get; } = handle;

    public TokenizerBuffers Buffers { get; } = new();

    /// <summary>
    /// Gets the number that a <see cref="CancelRegistration"/> sets. Native code holds its address during a call, so it is on the pinned heap,
    /// where the collector moves nothing.
    /// </summary>
    public uint[] CancelFlag { get; } = GC.AllocateArray<uint>(1, pinned: true);

    /// <summary>Embeds the texts of a pack in batches, in order.</summary>
    /// <param name="pack">The tokens of the texts.</param>
    /// <param name="batchTokens">The largest number of tokens of a batch; a longer text is a batch by itself.</param>
    /// <param name="heads">The heads of the vectors.</param>
    /// <param name="normalize">Whether the vectors are scaled to length 1.</param>
    /// <param name="cancelFlag">The flag that native code polls; empty for a call that cannot be cancelled.</param>
    /// <param name="rows">Receives one row per text.</param>
    public void Embed(
        TokenizedPack pack, int batchTokens, Heads heads, bool normalize, ReadOnlySpan<uint> cancelFlag, Span<float> rows)
    {
        for (int start = 0; start < pack.Count;)
        {
            int end = pack.BatchEnd(start, batchTokens);
            Handle.Embed(
                pack.Batch(start, end),
                heads,
                normalize,
                pack.FirstText + start,
                cancelFlag,
                rows.Slice(start * heads.RowLength, (end - start) * heads.RowLength));
            start = end;
        }
    }

    public void Dispose() => Handle.Dispose();
}
