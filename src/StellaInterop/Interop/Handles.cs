using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>Keeps a handle open during a native call: a dispose on another thread takes effect after the call.</summary>
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

    /// <summary>Gets the native pointer.</summary>
    public nint Value => handle.DangerousGetHandle();

    public void Dispose() => handle.DangerousRelease();
}

/// <summary>The handle of a native log sink. A model that was opened with the sink keeps it alive after this handle is closed.</summary>
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

/// <summary>The handle of a native BLAKE3 hash that is being computed.</summary>
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

    /// <summary>Adds bytes to the hash.</summary>
    public void Append(ReadOnlySpan<byte> bytes)
    {
        using var lease = new HandleLease(this);
        fixed (byte* pointer = bytes)
        {
            NativeErrors.ThrowIfFailed(
                NativeMethods.stella_hasher_update((NativeHasher*)lease.Value, pointer, (nuint)bytes.Length));
        }
    }

    /// <summary>Returns the hash of all bytes so far, in lower case hexadecimal digits.</summary>
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
