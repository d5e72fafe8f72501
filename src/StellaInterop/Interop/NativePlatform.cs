using System.Reflection;
using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>Describes the platform of this process, and the platforms for which the package has a native library.</summary>
internal static class NativePlatform
{
    /// <summary>Gets the portable runtime identifier of this process, by which packages name their folders.</summary>
    public static string Rid { get; } = $"{SystemName}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>Gets the platforms of the package. The build writes them into the assembly.</summary>
    public static IReadOnlyList<string> PackagedRids { get; } =
        typeof(NativePlatform).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(attribute => attribute.Key == "NativeRids")?.Value?.Split(';', StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>Gets a sentence that states whether the package supports this platform.</summary>
    public static string Statement => IsPackaged
        ? $"This process runs on {Rid}, for which the package StellaInterop has a library in runtimes/{Rid}/native."
        : $"This process runs on {Rid}, for which the package StellaInterop has no library (it supports {string.Join(", ", PackagedRids)}).";

    /// <summary>Gets a sentence that tells what to do if no library was found.</summary>
    public static string Advice => IsPackaged
        ? "Reference that package from the application, or copy the library beside it."
        : "Build the library on this platform with Rust, and copy it beside the application.";

    private static bool IsPackaged => PackagedRids.Contains(Rid);

    private static string SystemName =>
        OperatingSystem.IsWindows() ? "win"
        : OperatingSystem.IsMacOS() ? "osx"
        : !OperatingSystem.IsLinux() ? RuntimeInformation.RuntimeIdentifier
        // Only the runtime identifier of .NET tells musl from glibc.
        : RuntimeInformation.RuntimeIdentifier.Contains("musl", StringComparison.Ordinal)
            || RuntimeInformation.RuntimeIdentifier.StartsWith("alpine", StringComparison.Ordinal) ? "linux-musl"
        : "linux";
}
