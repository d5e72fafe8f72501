using System.IO.Compression;
using System.Text;
using System.Text.Json;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bulk.Parquet;
using ZstdSharp;

namespace StellaInterop.Bench.Files;

/// <summary>The same texts in each input format.</summary>
internal static class InputSample
{
    private const int WordsPerText = 60;

    /// <summary>Returns files by name.</summary>
    public static IEnumerable<(string Name, byte[] Content)> Create(int rows)
    {
        var random = new RandomNumbers(seed: 2);
        string[] texts = [.. Enumerable.Range(0, rows).Select(_ => string.Join(' ', Enumerable.Range(0, WordsPerText).Select(_ => Word(random))))];
        byte[] lines = Encoding.UTF8.GetBytes(string.Join('\n', texts));
        byte[] json = Encoding.UTF8.GetBytes(string.Join('\n', texts.Select((text, i) => $$"""{"id":"{{i}}","text":{{JsonSerializer.Serialize(text)}}}""")));
        byte[] csv = Encoding.UTF8.GetBytes("id,text\n" + string.Join('\n', texts.Select((text, i) => $"{i},\"{text}, and\"")));
        return
        [
            ("a.txt", lines),
            ("a.jsonl", json),
            ("a.csv", csv),
            ("a.jsonl.gz", Pack(json, stream => new GZipStream(stream, CompressionLevel.Optimal, leaveOpen: true))),
            ("a.jsonl.zst", Pack(json, stream => new CompressionStream(stream))),
            ("a.parquet", Parquet(texts)),
        ];
    }

    private static string Word(RandomNumbers random) =>
        string.Create(2 + random.NextBelow(8), random, static (word, random) =>
        {
            foreach (ref char letter in word)
            {
                letter = (char)('a' + random.NextBelow('z' - 'a' + 1));
            }
        });

    private static byte[] Pack(byte[] content, Func<Stream, Stream> pack)
    {
        using var packed = new MemoryStream();
        using (Stream stream = pack(packed))
        {
            stream.Write(content);
        }

        return packed.ToArray();
    }

    private static byte[] Parquet(string[] texts)
    {
        using var file = new MemoryStream();
        using (var writer = new ParquetWriter(file, [new ParquetColumn("text", ParquetType.ByteArray) { Logical = LogicalType.String }], texts.Length, () => new MemoryStream()))
        {
            writer.Write(texts.Length, [(row, page) => StellaInterop.Bulk.Outputs.ParquetPartFormat.AppendString(texts[row], page)]);
            writer.Complete();
        }

        return file.ToArray();
    }
}
