using System.Runtime.InteropServices;
using StellaInterop.Bulk.Outputs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Readers;

/// <summary>Programs without code of this project read back what the parts were made of.</summary>
internal sealed class IndependentReaderTests
{
    private const int Dimension = 48;

    private static IEnumerable<TestCaseData> All() =>
        from reader in PartReader.Installed from type in Enum.GetValues<StellaBulkVectorType>() select new TestCaseData(reader, type);

    [TestCaseSource(nameof(All))]
    public void A_part_is_read_back(PartReader reader, StellaBulkVectorType type)
    {
        var schema = new PartSchema([Dimension], type);
        PartRows rows = PartFiles.CreateRows(schema, 70);
        using var folder = new TemporaryFolder();
        foreach ((string extension, byte[] content) in PartFiles.Write(reader.Format, schema, rows, PartFiles.CreateRows(schema, 5, seed: 2)))
        {
            File.WriteAllBytes(folder.File($"part{extension}"), content);
        }

        ReadRow[] read = reader.Read(folder.File("part"));
        Assert.That(read, Has.Length.EqualTo(75));
        Assert.Multiple(() =>
        {
            for (int i = 0; i < rows.Count; i++)
            {
                byte[] bytes = new byte[VectorBytes.LengthOf(type, Dimension)];
                float scale = VectorBytes.Convert(type, rows.VectorOf(schema, 0, i), bytes);
                double[] expected = type switch
                {
                    StellaBulkVectorType.Float32 => [.. MemoryMarshal.Cast<byte, float>(bytes).ToArray().Select(x => (double)x)],
                    StellaBulkVectorType.Half => [.. MemoryMarshal.Cast<byte, Half>(bytes).ToArray().Select(x => (double)x)],
                    // A byte string in Parquet has no sign.
                    StellaBulkVectorType.Int8 when reader.Format != StellaBulkFormat.Parquet => [.. bytes.Select(x => (double)(sbyte)x)],
                    _ => [.. bytes.Select(x => (double)x)],
                };
                Assert.That(read[i].Id, Is.EqualTo(rows.Ids[i]));
                // JSON Lines has the shortest decimals of the numbers.
                Assert.That(read[i].Numbers, Is.EqualTo(expected).Within(reader.Format == StellaBulkFormat.JsonLines ? 1e-7 : 0));
                Assert.That(read[i].Scale, type == StellaBulkVectorType.Int8 ? Is.EqualTo((double)scale).Within(1e-9) : Is.Null);
            }
        });
    }
}
