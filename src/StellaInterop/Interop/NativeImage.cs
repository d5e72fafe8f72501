using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>
/// Checks the header of a native library before the system loads it. For a library of another processor the system's loader only reports
/// that there is no such file, and a truncated library would crash the process.
/// </summary>
internal static class NativeImage
{
    private const int HeaderBytes = 64;

    /// <summary>Returns the reason why this process cannot load a file; <see langword="null"/> if the header shows none.</summary>
    public static string? MismatchOf(string path)
    {
        using FileStream file = File.OpenRead(path);
        Span<byte> header = stackalloc byte[HeaderBytes];
        int read = file.ReadAtLeast(header, HeaderBytes, throwOnEndOfStream: false);
        var (system, machine, length) = Describe(header[..read], file);
        if (system is null)
        {
            return "not a native library";
        }

        if (system != ThisSystem)
        {
            return $"a library for {system}, in a process on {ThisSystem}";
        }

        if (machine is not null && machine != RuntimeInformation.ProcessArchitecture)
        {
            return $"a library for {machine}, in a process for {RuntimeInformation.ProcessArchitecture}";
        }

        return length > file.Length
            ? string.Create(CultureInfo.InvariantCulture, $"cut short: {file.Length:N0} of {length:N0} bytes")
            : null;
    }

    private static string ThisSystem => OperatingSystem.IsWindows() ? "Windows" : OperatingSystem.IsMacOS() ? "macOS" : "Linux";

    /// <summary>
    /// Returns the operating system of the format, the processor, and the length of the file by its header; 0 if the header has no
    /// length.
    /// </summary>
    private static (string? System, Architecture? Machine, long Length) Describe(ReadOnlySpan<byte> header, FileStream file) => header switch
    {
        [0x7f, (byte)'E', (byte)'L', (byte)'F', ..] when header.Length == HeaderBytes => ("Linux", ElfMachine(header), ElfLength(header)),
        [0xcf, 0xfa, 0xed, 0xfe, ..] when header.Length == HeaderBytes => ("macOS", MachMachine(header), 0),
        // A universal binary, for several processors.
        [0xca, 0xfe, 0xba, 0xbe, ..] => ("macOS", null, 0),
        [(byte)'M', (byte)'Z', ..] when header.Length == HeaderBytes => ("Windows", PeMachine(header, file), 0),
        _ => (null, null, 0),
    };

    private static Architecture? ElfMachine(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt16LittleEndian(header[18..]) switch
    {
        3 => Architecture.X86,
        40 => Architecture.Arm,
        62 => Architecture.X64,
        183 => Architecture.Arm64,
        _ => null,
    };

    /// <summary>Returns the end of the section header table, which is the last part of a 64-bit ELF file.</summary>
    private static long ElfLength(ReadOnlySpan<byte> header) => header[4] == 2
        ? (long)BinaryPrimitives.ReadUInt64LittleEndian(header[40..])
            + (BinaryPrimitives.ReadUInt16LittleEndian(header[58..]) * BinaryPrimitives.ReadUInt16LittleEndian(header[60..]))
        : 0;

    private static Architecture? MachMachine(ReadOnlySpan<byte> header) => BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) switch
    {
        0x0100_0007 => Architecture.X64,
        0x0100_000c => Architecture.Arm64,
        _ => null,
    };

    private static Architecture? PeMachine(ReadOnlySpan<byte> header, FileStream file)
    {
        Span<byte> pe = stackalloc byte[6];
        file.Position = BinaryPrimitives.ReadUInt32LittleEndian(header[60..]);
        return file.ReadAtLeast(pe, pe.Length, throwOnEndOfStream: false) < pe.Length
            ? null
            : BinaryPrimitives.ReadUInt16LittleEndian(pe[4..]) switch
            {
                0x014c => Architecture.X86,
                0x8664 => Architecture.X64,
                0xaa64 => Architecture.Arm64,
                _ => null,
            };
    }
}
