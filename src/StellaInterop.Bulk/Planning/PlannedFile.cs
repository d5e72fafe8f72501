namespace StellaInterop.Bulk.Planning;

/// <summary>Represents an input file of a plan.</summary>
/// <param name="Name">The name, as <see cref="Inputs.InputFile.Name"/>.</param>
/// <param name="Length">The length in bytes.</param>
/// <param name="Sha256">The hash of the bytes, in lower case hexadecimal digits.</param>
/// <param name="RowCount">The number of rows, those at fault included.</param>
internal sealed record PlannedFile(string Name, long Length, string Sha256, long RowCount);
