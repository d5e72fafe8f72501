using System.Reflection;

namespace StellaInterop.Bench;

/// <summary>The source tree that the program was built from: it holds graphs, reference vectors and texts.</summary>
internal static class Tree
{
    public static string Root { get; } = typeof(Tree).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "RepositoryRoot").Value!;

    public static string Asset(string name) => Path.Combine(Root, "bench/StellaInterop.Bench/assets", name);

    public static string Golden(string name) => Path.Combine(Root, "tests/fixtures/golden", $"{name}.json");
}
