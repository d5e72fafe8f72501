using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>Checks that this assembly and the native library have the same version of the ABI and the same struct sizes.</summary>
internal static unsafe class AbiContract
{
    private static readonly (NativeStruct Which, int Size)[] StructSizes =
    [
        (NativeStruct.ModelOptions, sizeof(NativeModelOptions)),
        (NativeStruct.ModelInfo, sizeof(NativeModelInfo)),
        (NativeStruct.TokenizeOptions, sizeof(NativeTokenizeOptions)),
        (NativeStruct.TokenCount, sizeof(NativeTokenCount)),
        (NativeStruct.SessionOptions, sizeof(NativeSessionOptions)),
        (NativeStruct.EmbedOptions, sizeof(NativeEmbedOptions)),
        (NativeStruct.Place, sizeof(NativePlace)),
        (NativeStruct.Span, sizeof(NativeSpan)),
        (NativeStruct.Workload, sizeof(NativeWorkload)),
        (NativeStruct.MemoryEstimate, sizeof(NativeMemoryEstimate)),
        (NativeStruct.PromptInfo, sizeof(NativePromptInfo)),
    ];

    /// <summary>Checks the library at <paramref name="handle"/> by its exports, before any import is bound to it.</summary>
    /// <exception cref="StellaAbiMismatchException">The version or a struct size differs, or the file is another library.</exception>
    public static void Check(nint handle, string path)
    {
        if (!NativeLibrary.TryGetExport(handle, "stella_abi_version", out nint version)
            || !NativeLibrary.TryGetExport(handle, "stella_abi_struct_size", out nint structSize))
        {
            throw new StellaAbiMismatchException($"{path} is not a StellaInterop library: it has no export stella_abi_version. Use the library that came with the assembly.");
        }

        Check(
            path,
            ((delegate* unmanaged[Cdecl]<uint>)version)(),
            which => ((delegate* unmanaged[Cdecl]<uint, nuint>)structSize)((uint)which));
    }

    /// <summary>Checks the library that the imports are bound to.</summary>
    /// <param name="library">The subject of the message.</param>
    /// <exception cref="StellaAbiMismatchException">The version or a struct size differs.</exception>
    public static void CheckImports(string library) => Check(
        library, NativeMethods.stella_abi_version(), which => NativeMethods.stella_abi_struct_size((uint)which));

    private static void Check(string library, uint version, Func<NativeStruct, nuint> sizeOf)
    {
        if (version != NativeMethods.STELLA_ABI_VERSION)
        {
            throw new StellaAbiMismatchException(
                $"{library} has version {version} of the ABI; this assembly has version {NativeMethods.STELLA_ABI_VERSION}. "
                + "Use the library that came with the assembly.");
        }

        foreach (var (which, size) in StructSizes)
        {
            nuint native = sizeOf(which);
            if (native != (nuint)size)
            {
                throw new StellaAbiMismatchException(
                    $"{library} has {native} bytes for the struct {which}; this assembly has {size}. Use the library that came with the assembly.");
            }
        }
    }
}
