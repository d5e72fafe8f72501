using DuckDB.NET.Data;

namespace StellaInterop.Bench.Files;

/// <summary>DuckDB, a reader and writer of files that shares no code with this project.</summary>
internal static class DuckDb
{
    /// <summary>Runs a statement.</summary>
    /// <returns>The numbers of its first row.</returns>
#pragma warning disable CA2100 // The program writes the statements that it runs.
    public static long[] Run(string statement)
    {
        using var connection = new DuckDBConnection("Data Source=:memory:");
        connection.Open();
        using DuckDBCommand command = connection.CreateCommand();
        command.CommandText = statement;
        using DuckDBDataReader reader = command.ExecuteReader();
        return reader.Read() ? [.. Enumerable.Range(0, reader.FieldCount).Select(reader.GetInt64)] : [];
    }
#pragma warning restore CA2100
}
