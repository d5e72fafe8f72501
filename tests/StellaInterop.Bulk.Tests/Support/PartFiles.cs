using StellaInterop.Bulk.Outputs;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>Part files of random vectors.</summary>
internal static class PartFiles
{
    /// <summary>Creates rows with ids such as <c>row 7é</c>.</summary>
    public static PartRows CreateRows(PartSchema schema, int count, int seed = 1)
    {
        var random = new Random(seed);
        return new PartRows
        {
            Count = count,
            Ids = [.. Enumerable.Range(0, count).Select(i => $"row {i}é\"")],
            Tokens = [.. Enumerable.Range(0, count).Select(i => i + 3)],
            Truncated = [.. Enumerable.Range(0, count).Select(i => i % 3 == 1)],
            Vectors = [.. schema.Dimensions.Select(dimension =>
                (ReadOnlyMemory<float>)Enumerable.Range(0, count * dimension).Select(_ => (random.NextSingle() * 2) - 1).ToArray())],
        };
    }

    /// <summary>Returns some of the rows.</summary>
    public static PartRows Slice(this PartRows rows, PartSchema schema, int first, int count) => new()
    {
        Count = count,
        Ids = [.. rows.Ids.Skip(first).Take(count)],
        Tokens = [.. rows.Tokens.Skip(first).Take(count)],
        Truncated = [.. rows.Truncated.Skip(first).Take(count)],
        Vectors = [.. schema.Dimensions.Select((dimension, i) => rows.Vectors[i].Slice(first * dimension, count * dimension))],
    };

    /// <summary>Returns the files of a part by the end of their names.</summary>
    public static Dictionary<string, byte[]> Write(StellaBulkFormat format, PartSchema schema, params PartRows[] rowGroups)
    {
        IPartFormat parts = PartFormats.Of(format);
        IReadOnlyList<string> extensions = parts.ExtensionsOf(schema);
        MemoryStream[] files = [.. extensions.Select(_ => new MemoryStream())];
        using (IPartWriter writer = parts.Create(schema, files, () => new MemoryStream()))
        {
            Array.ForEach(rowGroups, writer.Write);
            writer.Complete();
        }

        return extensions.Zip(files).ToDictionary(pair => pair.First, pair => pair.Second.ToArray());
    }
}
