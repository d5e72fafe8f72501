using System.Reflection;
using System.Runtime.InteropServices;

namespace StellaInterop.Interop;

/// <summary>The platform of this process, and those for which the package holds a native library.</summary>
internal static class NativePlatform
{
    /// <summary>Runtime identifier of this process, of the portable kind by which packages name their folders.</summary>
    public static string Rid { get; } = $"{SystemName}-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>What was there when this assembly was built; the build writes it down.</summary>
    public static IReadOnlyList<string> PackagedRids { get; } =
        typeof(NativePlatform).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .FirstOrDefault(attribute => attribute.Key == "NativeRids")?.Value?.Split(';', StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>A sentence that says whether the package serves this platform.</summary>
    public static string Statement => IsPackaged
        ? $"This process runs on {Rid}, for which the package StellaInterop has one in runtimes/{Rid}/native."
        : $"This process runs on {Rid}, for which the package StellaInterop has none (it has {string.Join(", ", PackagedRids)}).";

    /// <summary>A sentence that says what to do where no library was found.</summary>
    public static string Advice => IsPackaged
        ? "Reference that package from the application, or copy the library beside it."
        : "Build one there, by Rust, and copy it beside the application.";

    private static bool IsPackaged => PackagedRids.Contains(Rid);

    private static string SystemName =>
        OperatingSystem.IsWindows() ? "win"
        : OperatingSystem.IsMacOS() ? "osx"
        : !OperatingSystem.IsLinux() ? RuntimeInformation.RuntimeIdentifier
        // .NET names the C library in its own identifier, and nowhere else.
        : RuntimeInformation.RuntimeIdentifier.Contains("musl", StringComparison.Ordinal)
            || RuntimeInformation.RuntimeIdentifier.StartsWith("alpine", StringComparison.Ordinal) ? "linux-musl"
        : "linux";
}
