using System.Globalization;

namespace StellaInterop.Bench.Files;

/// <summary>The ids of the rows in the Parquet files of a folder.</summary>
/// <param name="Count">The number of rows.</param>
/// <param name="Distinct">The number of different ids from 1 to the number of rows that the input has.</param>
internal readonly record struct PartIds(long Count, long Distinct)
{
    /// <summary>Reads the ids with DuckDB. An id is a number, or ends with a colon and the number.</summary>
    public static PartIds Read(string folder, int rows)
    {
        long[] counts = DuckDb.Run(string.Create(
            CultureInfo.InvariantCulture,
            $"SELECT count(*), count(DISTINCT number) FILTER (number BETWEEN 1 AND {rows}) FROM (SELECT CAST(split_part(id, ':', -1) AS BIGINT) AS number FROM '{folder}/part-*.parquet')"));
        return new PartIds(counts[0], counts[1]);
    }

    /// <summary>Returns whether each number from 1 to <paramref name="rows"/> is the id of exactly one row.</summary>
    public bool AreComplete(int rows) => Count == rows && Distinct == rows;
}
