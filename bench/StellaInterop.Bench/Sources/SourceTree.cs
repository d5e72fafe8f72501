using System.Reflection;

namespace StellaInterop.Bench.Sources;

/// <summary>Paths in the source tree of this build: ONNX graphs, reference vectors, and the sources that quality reads texts from.</summary>
internal static class SourceTree
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    /// <summary>Gets the configuration of this build, such as Release.</summary>
    public static string Configuration { get; } = Metadata("Configuration");

    public static string Asset(string name) => Path.Combine(Root, "bench/StellaInterop.Bench/assets", name);

    public static string Golden(string name) => Path.Combine(Root, "tests/fixtures/golden", $"{name}.json");

    private static string Metadata(string key) =>
        typeof(SourceTree).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(attribute => attribute.Key == key).Value!;
}
