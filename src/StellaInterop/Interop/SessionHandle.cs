using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// The handle of a native session: the threads and the scratch memory of forward passes. Runs one call at a time, and keeps the handle
/// of its model open.
/// </summary>
internal sealed unsafe class SessionHandle : SafeHandle
{
    private readonly ModelHandle model;

    /// <summary>Starts a session.</summary>
    /// <param name="model">The model.</param>
    /// <param name="threads">The number of threads that compute; 0 for one per processor.</param>
    /// <param name="maxBatchTokens">The largest number of tokens of a call.</param>
    public SessionHandle(ModelHandle model, int threads, int maxBatchTokens)
        : this(model, new NativeSessionOptions
        {
            size = (uint)sizeof(NativeSessionOptions),
            threads = (uint)threads,
            max_batch_tokens = (uint)maxBatchTokens,
        })
    {
    }

    /// <summary>Starts a session with native options, which tests also set to invalid values.</summary>
    internal SessionHandle(ModelHandle model, NativeSessionOptions options)
        : base(0, ownsHandle: true)
    {
        this.model = model;
        bool added = false;
        model.DangerousAddRef(ref added);
        try
        {
            NativeSession* session;
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_session_new((NativeModel*)model.DangerousGetHandle(), &options, &session));
            SetHandle((nint)session);
        }
        catch
        {
            // The runtime never calls ReleaseHandle for an invalid handle, so the reference is released here.
            model.DangerousRelease();
            throw;
        }
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Embeds a packed batch.</summary>
    /// <param name="batch">The texts.</param>
    /// <param name="heads">The heads of the vectors.</param>
    /// <param name="normalize">Whether the vectors are scaled to length 1.</param>
    /// <param name="firstTextIndex">The index of the first text in the list of the caller, for errors.</param>
    /// <param name="cancelFlag">The flag of a <see cref="CancelRegistration"/>; empty for a call that cannot be cancelled.</param>
    /// <param name="rows">Receives one row per text.</param>
    public void Embed(
        TokenBatch batch, Heads heads, bool normalize, int firstTextIndex, ReadOnlySpan<uint> cancelFlag, Span<float> rows)
    {
        using var lease = new HandleLease(this);
        fixed (uint* ids = batch.Ids, cuSeqlens = batch.CuSeqlens, leftOut = batch.LeftOut, dimensions = heads.Dimensions, cancelled = cancelFlag)
        fixed (float* vectors = rows)
        {
            NativeEmbedOptions options = OptionsOf(dimensions, heads, normalize);
            options.first_text = (uint)firstTextIndex;
            options.left_out = leftOut;
            options.left_out_length = (nuint)batch.LeftOut.Length;
            NativeErrors.ThrowIfFailed(NativeMethods.stella_session_embed(
                (NativeSession*)lease.Value,
                ids,
                (nuint)batch.Ids.Length,
                cuSeqlens,
                (nuint)batch.CuSeqlens.Length,
                &options,
                cancelled,
                vectors,
                (nuint)rows.Length));
        }
    }

    /// <summary>Computes the hidden states of the tokens of one text, and the vectors of parts of the text.</summary>
    /// <param name="ids">The tokens of the text.</param>
    /// <param name="spans">The tokens of each part; may be empty.</param>
    /// <param name="heads">The heads of the vectors.</param>
    /// <param name="normalize">Whether the vectors are scaled to length 1.</param>
    /// <param name="cancelFlag">The flag of a <see cref="CancelRegistration"/>; empty for a call that cannot be cancelled.</param>
    /// <param name="hiddenStates">Receives one hidden state per token; may be empty.</param>
    /// <param name="vectors">Receives one row per part.</param>
    public void EmbedTokens(
        ReadOnlySpan<uint> ids,
        ReadOnlySpan<NativeSpan> spans,
        Heads heads,
        bool normalize,
        ReadOnlySpan<uint> cancelFlag,
        Span<float> hiddenStates,
        Span<float> vectors)
    {
        using var lease = new HandleLease(this);
        fixed (uint* idsPointer = ids, dimensions = heads.Dimensions, cancelled = cancelFlag)
        fixed (NativeSpan* spansPointer = spans)
        fixed (float* hiddenPointer = hiddenStates, vectorsPointer = vectors)
        {
            NativeEmbedOptions options = OptionsOf(dimensions, heads, normalize);
            NativeErrors.ThrowIfFailed(NativeMethods.stella_session_embed_tokens(
                (NativeSession*)lease.Value,
                idsPointer,
                (nuint)ids.Length,
                spansPointer,
                (nuint)spans.Length,
                &options,
                cancelled,
                hiddenPointer,
                (nuint)hiddenStates.Length,
                vectorsPointer,
                (nuint)vectors.Length));
        }
    }

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_session_free((NativeSession*)handle);
        model.DangerousRelease();
        return true;
    }

    private static NativeEmbedOptions OptionsOf(uint* dimensions, Heads heads, bool normalize) => new()
    {
        size = (uint)sizeof(NativeEmbedOptions),
        dimensions = dimensions,
        dimensions_length = (nuint)heads.Dimensions.Length,
        raw = normalize ? 0u : 1u,
    };
}
