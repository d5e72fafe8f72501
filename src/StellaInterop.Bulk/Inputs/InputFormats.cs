namespace StellaInterop.Bulk.Inputs;

/// <summary>Provides the formats of input files.</summary>
internal static class InputFormats
{
    private static readonly JsonLinesFormat JsonLines = new();
    private static readonly ParquetFormat Parquet = new();
    private static readonly TextLinesFormat Text = new();

    /// <summary>Gets all formats.</summary>
    public static IReadOnlyList<IInputFormat> All { get; } = [JsonLines, CsvFormat.Commas, CsvFormat.Tabs, Parquet, Text];

    /// <summary>Returns a format; <see langword="null"/> if the name of each file tells it.</summary>
    public static IInputFormat? Of(StellaBulkInputFormat format) => format switch
    {
        StellaBulkInputFormat.JsonLines => JsonLines,
        StellaBulkInputFormat.Csv => CsvFormat.Commas,
        StellaBulkInputFormat.Tsv => CsvFormat.Tabs,
        StellaBulkInputFormat.Parquet => Parquet,
        StellaBulkInputFormat.Text => Text,
        _ => null,
    };

    /// <summary>Returns the format of a file by the end of its name, in any case; <see langword="null"/> if it is not known.</summary>
    public static IInputFormat? Find(string fileName) => All.FirstOrDefault(
        format => format.Extensions.Any(extension => fileName.EndsWith(extension, StringComparison.OrdinalIgnoreCase)));
}
