using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>A loaded native model.</summary>
internal sealed unsafe class ModelHandle : SafeHandle
{
    public ModelHandle(NativeModel* model)
        : base(0, ownsHandle: true) => SetHandle((nint)model);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_model_free((NativeModel*)handle);
        return true;
    }
}

/// <summary>A native session. Its model's handle stays open for as long as it does.</summary>
internal sealed unsafe class SessionHandle : SafeHandle
{
    private readonly ModelHandle model;

    /// <summary>Starts a session of <paramref name="model"/>.</summary>
    public SessionHandle(ModelHandle model, NativeSessionOptions options)
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
            // An invalid handle is never released, so the reference is given back here.
            model.DangerousRelease();
            throw;
        }
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Embeds packed texts.</summary>
    /// <param name="batch">The texts.</param>
    /// <param name="options">What the vectors are to be.</param>
    /// <param name="cancelFlag">One number that stops the call soon after it is other than 0, or nothing.</param>
    /// <param name="rows">Receives a row for each text.</param>
    public void Embed(
        TokenBatch batch,
        NativeEmbedOptions options,
        ReadOnlySpan<uint> cancelFlag,
        Span<float> rows)
    {
        using var lease = new HandleLease(this);
        fixed (uint* ids = batch.Ids, cuSeqlens = batch.CuSeqlens, leftOut = batch.LeftOut, cancelled = cancelFlag)
        fixed (float* vectors = rows)
        {
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

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_session_free((NativeSession*)handle);
        model.DangerousRelease();
        return true;
    }
}

/// <summary>A native log sink. Models that were opened with it keep what it needs alive by themselves.</summary>
internal sealed unsafe class LogSinkHandle : SafeHandle
{
    public LogSinkHandle(NativeLogSink* sink)
        : base(0, ownsHandle: true) => SetHandle((nint)sink);

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_log_sink_free((NativeLogSink*)handle);
        return true;
    }
}

/// <summary>A native BLAKE3 hash on its way.</summary>
internal sealed unsafe class HasherHandle : SafeHandle
{
    public HasherHandle()
        : base(0, ownsHandle: true)
    {
        NativeLibraryLoader.EnsureLoaded();
        NativeHasher* hasher;
        NativeErrors.ThrowIfFailed(NativeMethods.stella_hasher_new(&hasher));
        SetHandle((nint)hasher);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Takes the bytes that come next.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        using var lease = new HandleLease(this);
        fixed (byte* pointer = bytes)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_hasher_update((NativeHasher*)lease.Value, pointer, (nuint)bytes.Length));
        }
    }

    /// <summary>The hash of all bytes so far, in lower case hexadecimal digits.</summary>
    public string Finish()
    {
        Span<byte> hash = stackalloc byte[(int)NativeMethods.STELLA_HASH_BYTES];
        using var lease = new HandleLease(this);
        fixed (byte* pointer = hash)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_hasher_finish((NativeHasher*)lease.Value, pointer, (nuint)hash.Length));
        }

        return Convert.ToHexStringLower(hash);
    }

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_hasher_free((NativeHasher*)handle);
        return true;
    }
}

/// <summary>Keeps a handle open for the length of a call: a dispose on another thread waits for it.</summary>
internal readonly ref struct HandleLease : IDisposable
{
    private readonly SafeHandle handle;

    /// <exception cref="ObjectDisposedException">The handle is closed.</exception>
    public HandleLease(SafeHandle handle)
    {
        bool added = false;
        handle.DangerousAddRef(ref added);
        this.handle = handle;
    }

    public nint Value => handle.DangerousGetHandle();

    public void Dispose() => handle.DangerousRelease();
}
