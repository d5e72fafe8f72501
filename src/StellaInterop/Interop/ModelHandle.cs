using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>The handle of a loaded native model. Thread-safe.</summary>
internal sealed unsafe class ModelHandle : SafeHandle
{
    public ModelHandle(NativeModel* model)
        : base(0, ownsHandle: true) => SetHandle((nint)model);

    public override bool IsInvalid => handle == 0;

    /// <summary>
    /// Returns the fingerprint of the vectors of a dimension, 64 lower case hexadecimal digits. May read all files of the model.
    /// </summary>
    /// <param name="dimension">The dimension; <see langword="null"/> for the model's default.</param>
    public string GetFingerprint(int? dimension)
    {
        Span<byte> hash = stackalloc byte[(int)NativeMethods.STELLA_HASH_BYTES];
        using var lease = new HandleLease(this);
        fixed (byte* pointer = hash)
        {
            NativeErrors.ThrowIfFailed(NativeMethods.stella_model_fingerprint(
                (NativeModel*)lease.Value, (uint)(dimension ?? 0), pointer, (nuint)hash.Length));
        }

        return Convert.ToHexStringLower(hash);
    }

    protected override bool ReleaseHandle()
    {
        NativeMethods.stella_model_free((NativeModel*)handle);
        return true;
    }
}
