using System.Reflection;

namespace StellaInterop.Bench.Sources;

/// <summary>Paths in the source tree of this build: ONNX graphs, reference vectors, and the sources that quality reads texts from.</summary>
internal static class SourceTree
{
    public static string Root { get; } = typeof(SourceTree).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "RepositoryRoot").Value!;

    public static string Asset(string name) => Path.Combine(Root, "bench/StellaInterop.Bench/assets", name);

    public static string Golden(string name) => Path.Combine(Root, "tests/fixtures/golden", $"{name}.json");
}
