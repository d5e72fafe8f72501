namespace StellaInterop.Bulk.Outputs;

/// <summary>Provides the formats of parts.</summary>
internal static class PartFormats
{
    /// <summary>Gets all formats.</summary>
    public static IReadOnlyList<IPartFormat> All { get; } = [new ParquetPartFormat(), new JsonLinesPartFormat(), new NpyPartFormat()];

    public static IPartFormat Of(StellaBulkFormat format) => All.Single(candidate => candidate.Format == format);
}
