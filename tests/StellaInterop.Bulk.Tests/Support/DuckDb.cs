using DuckDB.NET.Data;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>An independent reader and writer of Parquet.</summary>
internal static class DuckDb
{
    /// <summary>Writes the rows of a query to a Parquet file.</summary>
    public static void Write(string path, string query, string options = "") => Run($"COPY ({query}) TO '{path}' (FORMAT parquet{(options.Length > 0 ? ", " : "")}{options})");

    /// <summary>Returns the rows of a query. <c>$file</c> stands for the path.</summary>
    public static List<object?[]> Query(string path, string query)
    {
        using var connection = new DuckDBConnection("Data Source=:memory:");
        connection.Open();
        using DuckDBCommand command = connection.CreateCommand();
        command.CommandText = query.Replace("$file", $"'{path}'");
        using DuckDBDataReader reader = command.ExecuteReader();
        var rows = new List<object?[]>();
        while (reader.Read())
        {
            rows.Add([.. Enumerable.Range(0, reader.FieldCount).Select(i => reader.IsDBNull(i) ? null : ToValue(reader.GetValue(i)))]);
        }

        return rows;
    }

    /// <summary>Copies the bytes of a blob, whose stream is valid only until the next row.</summary>
    private static object ToValue(object value)
    {
        if (value is not Stream stream)
        {
            return value;
        }

        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static void Run(string statement)
    {
        using var connection = new DuckDBConnection("Data Source=:memory:");
        connection.Open();
        using DuckDBCommand command = connection.CreateCommand();
        command.CommandText = statement;
        command.ExecuteNonQuery();
    }
}
