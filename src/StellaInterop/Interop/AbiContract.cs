using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>What this assembly and the native library must agree on before the first call between them.</summary>
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

    /// <summary>Asks the library at <paramref name="handle"/> directly, before any import is bound to it.</summary>
    /// <exception cref="StellaAbiMismatchException">Version or a struct size differs, or this is another library.</exception>
    public static void Check(nint handle, string path)
    {
        if (!NativeLibrary.TryGetExport(handle, "stella_abi_version", out nint version)
            || !NativeLibrary.TryGetExport(handle, "stella_abi_struct_size", out nint structSize))
        {
            throw new StellaAbiMismatchException($"{path} is not a StellaInterop library: it has no stella_abi_version.");
        }

        Check(
            path,
            ((delegate* unmanaged[Cdecl]<uint>)version)(),
            which => ((delegate* unmanaged[Cdecl]<uint, nuint>)structSize)((uint)which));
    }

    /// <summary>Asks the library that the imports are bound to, whoever resolves them.</summary>
    /// <param name="library">The library, as the subject of a message.</param>
    /// <exception cref="StellaAbiMismatchException">Version or a struct size differs.</exception>
    public static void CheckImports(string library) => Check(
        library, NativeMethods.stella_abi_version(), which => NativeMethods.stella_abi_struct_size((uint)which));

    private static void Check(string library, uint version, Func<NativeStruct, nuint> sizeOf)
    {
        if (version != NativeMethods.STELLA_ABI_VERSION)
        {
            throw new StellaAbiMismatchException(
                $"{library} speaks version {version} of the ABI, this assembly version {NativeMethods.STELLA_ABI_VERSION}. "
                + "Use the library that came with the assembly.");
        }

        foreach (var (which, size) in StructSizes)
        {
            nuint native = sizeOf(which);
            if (native != (nuint)size)
            {
                throw new StellaAbiMismatchException(
                    $"{library} has {native} bytes for {which}, this assembly {size}. Use the library that came with the assembly.");
            }
        }
    }
}
