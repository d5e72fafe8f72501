using System.Runtime.InteropServices;
using StellaInterop.Bench.Terminal;

namespace StellaInterop.Bench.Measuring;

/// <summary>
/// A loop of dot-product instructions that .NET does not expose, as machine code. It adds into twelve independent accumulators and
/// uses registers only. Runs on Linux on x86-64.
/// </summary>
internal sealed unsafe partial class DotProductLoop : IDisposable
{
    private const int Accumulators = 12;
    private const int Lanes = 16;
    private const int PageBytes = 4096;
    private const int ReadWrite = 3;
    private const int ReadExecute = 5;
    private const int PrivateAnonymous = 0x22;

    private readonly nint code;

    private DotProductLoop(byte prefix, byte opcode, int numbers)
    {
        OperationsPerLoop = 2L * numbers * Lanes * Accumulators;
        byte[] bytes = Assemble(prefix, opcode);
        code = Mmap(0, PageBytes, ReadWrite, PrivateAnonymous, -1, 0);
        if (code == -1)
        {
            throw new BenchException($"Could not map a page for machine code: mmap failed with error {Marshal.GetLastPInvokeError()}.");
        }

        Marshal.Copy(bytes, 0, code, bytes.Length);
        if (Mprotect(code, PageBytes, ReadExecute) != 0)
        {
            throw new BenchException($"Could not make a page executable: mprotect failed with error {Marshal.GetLastPInvokeError()}.");
        }
    }

    /// <summary>Gets the operations of one iteration. A multiplication and an addition count as two.</summary>
    public long OperationsPerLoop { get; }

    /// <summary>Creates a loop of bf16 products (<c>vdpbf16ps</c>); null if the processor lacks the instruction or has AMX, which is faster.</summary>
    public static DotProductLoop? BF16(IReadOnlyList<string> instructions) =>
        IsUsable(instructions, "avx512_bf16", "amx_bf16") ? new DotProductLoop(prefix: 2, opcode: 0x52, numbers: 2) : null;

    /// <summary>Creates a loop of int8 products (<c>vpdpbusd</c>); null if the processor lacks the instruction or has AMX, which is faster.</summary>
    public static DotProductLoop? Int8(IReadOnlyList<string> instructions) =>
        IsUsable(instructions, "avx512_vnni", "amx_int8") ? new DotProductLoop(prefix: 1, opcode: 0x50, numbers: 4) : null;

    /// <summary>Runs the loop on this thread.</summary>
    public void Run(long loops) => ((delegate* unmanaged[Cdecl]<long, void>)code)(loops);

    public void Dispose() => _ = Munmap(code, PageBytes);

    private static bool IsUsable(IReadOnlyList<string> instructions, string instruction, string faster) =>
        OperatingSystem.IsLinux()
        && RuntimeInformation.ProcessArchitecture == Architecture.X64
        && instructions.Contains(instruction)
        && !instructions.Contains(faster);

    /// <summary>Assembles <c>vzeroall; again: op zmm0..zmm11, zmm14, zmm15; dec rdi; jnz again; vzeroupper; ret</c>.</summary>
    private static byte[] Assemble(byte prefix, byte opcode)
    {
        List<byte> bytes = [0xC5, 0xFC, 0x77];
        int again = bytes.Count;
        for (int sum = 0; sum < Accumulators; sum++)
        {
            // EVEX.512.prefix.0F38.W0. The second byte has the inverted fourth bits of the accumulator and of zmm15. The third
            // byte has the inverted number of zmm14. The last byte has the low bits of the accumulator and of zmm15.
            bytes.AddRange([0x62, (byte)(sum < 8 ? 0xD2 : 0x52), (byte)(0x0C | prefix), 0x48, opcode, (byte)(0xC0 | ((sum & 7) << 3) | 7)]);
        }

        bytes.AddRange([0x48, 0xFF, 0xCF, 0x0F, 0x85]);
        bytes.AddRange(BitConverter.GetBytes(again - (bytes.Count + 4)));
        bytes.AddRange([0xC5, 0xF8, 0x77, 0xC3]);
        return [.. bytes];
    }

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, nint offset);

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Mprotect(nint address, nuint length, int protection);

    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Munmap(nint address, nuint length);
}
