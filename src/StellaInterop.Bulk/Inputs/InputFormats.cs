namespace StellaInterop.Bulk.Inputs;

/// <summary>Provides the formats of input files.</summary>
internal static class InputFormats
{
    /// <summary>Gets all formats.</summary>
    public static IReadOnlyList<IInputFormat> All { get; } = [new JsonLinesFormat(), CsvFormat.Commas, CsvFormat.Tabs, new ParquetFormat(), new TextLinesFormat()];

    /// <summary>Returns the format of a file by the end of its name, in any case; <see langword="null"/> if it is not known.</summary>
    public static IInputFormat? Find(string fileName) => All.FirstOrDefault(
        format => format.Extensions.Any(extension => fileName.EndsWith(extension, StringComparison.OrdinalIgnoreCase)));
}
