using CsCheck;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>A file that is read in pieces, each from the place where the last one ended, has the same rows as in one go.</summary>
internal sealed class ContinuedReadingTests
{
    /// <summary>Pieces of good and bad rows of all text formats.</summary>
    private static readonly Gen<string> Line = Any.Of(
        "", "{}", "{\"text\":\"a\"}", "{\"text\":\"é\",\"id\":7}", "{\"text\":5}", "plain", "1,b", "\"two", "2,\"c,\"\"\nd\"", "3,e,f", "\"x\"y,z", "\u00A0", "4,\"\"");

    private static readonly Gen<string> LineEnd = Any.Of("\n", "\n", "\r\n");

    private static readonly Gen<string> Text = Gen.Select(Line, LineEnd, (line, end) => line + end).Array[0, 12].Select(string.Concat);

    private static readonly Gen<string> Name = Any.Of("a.jsonl", "a.csv", "a.txt", "a.jsonl.gz", "a.csv.gz", "a.txt.zst", "a.csv.zst");

    [Test]
    public void A_file_has_the_same_rows_in_pieces_as_in_one_go() => Gen.Select(Name, Text, Gen.Bool, Gen.Int[1, 4], Gen.Int[1, 50]).Sample(
        (name, text, hasMark, pieceRows, blockBytes) =>
        {
            byte[] content = Pack(name, (hasMark ? "\uFEFF" : "") + (name.StartsWith("a.csv") ? "id,text\n" : "") + text);
            (InputRow Row, RowPosition After)[] whole = [.. InputContent.Read(name, new SlowStream(content, blockBytes))];

            var pieces = new List<(InputRow Row, RowPosition After)>();
            RowPosition from = default;
            while (true)
            {
                (InputRow Row, RowPosition After)[] piece = [.. InputContent.Read(name, new SlowStream(content, blockBytes), from: from).Take(pieceRows)];
                if (piece.Length == 0)
                {
                    break;
                }

                pieces.AddRange(piece);
                from = piece[^1].After;
            }

            return whole.SequenceEqual(pieces);
        });

    /// <summary>The first reading of a file computes its hash, so its stream cannot seek.</summary>
    [Test]
    public void A_stream_that_cannot_seek_has_the_same_rows_and_places() => Gen.Select(Name, Text).Sample((name, text) =>
    {
        byte[] content = Pack(name, (name.StartsWith("a.csv") ? "id,text\n" : "") + text);
        return InputContent.Read(name, new SlowStream(content, 64)).SequenceEqual(InputContent.Read(name, new SlowStream(content, 7, canSeek: false)));
    });

    [TestCase("a.jsonl")]
    [TestCase("a.csv")]
    [TestCase("a.txt.gz")]
    [TestCase("a.parquet")]
    public void A_reader_disposes_its_stream_also_if_it_cannot_be_opened(string name)
    {
        var bad = new SlowStream([0xFF, 0xFE, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 64);
        Assert.Throws<StellaBulkException>(() => InputFormats.Find(name)!.Open(name, bad, new InputColumns(), default));
        Assert.That(bad.IsDisposed);
    }

    [TestCase("a.jsonl", "JSON Lines")]
    [TestCase("b/A.NDJSON.ZST", "JSON Lines")]
    [TestCase("a.csv.gz", "CSV")]
    [TestCase("a.tsv", "TSV")]
    [TestCase("a.txt", "text lines")]
    [TestCase("a.parquet", "Parquet")]
    [TestCase("a.json", null)]
    [TestCase("a.gz", null)]
    public void The_end_of_a_name_tells_the_format(string name, string? format) => Assert.That(InputFormats.Find(name)?.Name, Is.EqualTo(format));

    private static byte[] Pack(string name, string text)
    {
        byte[] content = InputContent.Utf8(text);
        return name.EndsWith("gz") ? InputContent.Gzip(content) : name.EndsWith("zst") ? InputContent.Zstd(content) : content;
    }
}
