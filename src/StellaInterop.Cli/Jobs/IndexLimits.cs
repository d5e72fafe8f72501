using System.Globalization;
using StellaInterop.Bulk;

namespace StellaInterop.Cli.Jobs;

/// <summary>Tells what an index of pgvector can hold.</summary>
internal static class IndexLimits
{
    /// <summary>The types of pgvector, and the largest dimension that an HNSW index of each takes.</summary>
    private static readonly (string Type, int MaxDimension)[] Types = [("vector", 2_000), ("halfvec", 4_000), ("bit", 64_000)];

    /// <summary>Names the types that can index vectors of a dimension.</summary>
    public static string Describe(int dimension, StellaBulkVectorType type)
    {
        (string Type, int MaxDimension)[] fitting = [.. Types.Where(each => dimension <= each.MaxDimension && (type != StellaBulkVectorType.Binary || each.Type == "bit"))];
        string names = string.Join(", ", fitting.Select(each => string.Create(CultureInfo.InvariantCulture, $"{each.Type} (up to {each.MaxDimension})")));
        return fitting.Length == 0 ? "pgvector has no type for it. Choose a smaller dimension." : $"pgvector indexes it as {names}.";
    }
}
