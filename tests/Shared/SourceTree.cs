using System.Reflection;

namespace StellaInterop.Tests;

/// <summary>Paths in the source tree that the tests were built from.</summary>
internal static class SourceTree
{
    /// <remarks>Under Wine, the path of Linux in the assembly becomes one with a drive.</remarks>
    public static string Root { get; } = Path.GetFullPath(Metadata("RepositoryRoot"));

    public static string Configuration { get; } = Metadata("Configuration");

    private static string Metadata(string key) => typeof(SourceTree).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == key).Value!;
}
