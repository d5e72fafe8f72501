using StellaInterop.Bulk.Inputs;

namespace StellaInterop.Bulk.Planning;

/// <summary>Represents a run of rows over the concatenated input files. It becomes one part.</summary>
/// <param name="File">The index of the file with its first row.</param>
/// <param name="Position">The place of its first row in that file.</param>
/// <param name="RowCount">The number of rows, those at fault included; at least one.</param>
/// <param name="Tokens">The estimated tokens.</param>
/// <param name="Checksum">The <see cref="RowChecksum"/> of the rows: a changed input is found when the rows are read again.</param>
internal readonly record struct Chunk(int File, RowPosition Position, long RowCount, long Tokens, ulong Checksum);
