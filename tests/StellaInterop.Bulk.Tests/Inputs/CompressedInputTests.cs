using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;

namespace StellaInterop.Bulk.Tests.Inputs;

/// <summary>Compressed files have the rows of their content, and a damaged one is refused as a whole.</summary>
internal sealed class CompressedInputTests
{
    private static readonly byte[] Content = InputContent.Utf8(string.Join('\n', Enumerable.Range(0, 300).Select(i => $"{{\"text\":\"text {i * i}\"}}")));

    private static IEnumerable<TestCaseData> Compressions() =>
    [
        new TestCaseData("a.jsonl.gz", InputContent.Gzip(Content)).SetArgDisplayNames("gzip"),
        new TestCaseData("a.jsonl.zst", InputContent.Zstd(Content)).SetArgDisplayNames("zstd"),
        new TestCaseData("A.JSONL.GZ", InputContent.Gzip(Content)).SetArgDisplayNames("capitals"),
        new TestCaseData("a.jsonl.gz", (byte[])[.. InputContent.Gzip(Content[..1000]), .. InputContent.Gzip(Content[1000..])]).SetArgDisplayNames("gzip in two members"),
        new TestCaseData("a.jsonl.zst", (byte[])[.. InputContent.Zstd(Content[..1000]), .. InputContent.Zstd(Content[1000..])]).SetArgDisplayNames("zstd in two frames"),
    ];

    [TestCaseSource(nameof(Compressions))]
    public void A_compressed_file_has_the_rows_of_its_content(string name, byte[] packed) =>
        Assert.That(InputContent.ReadAll(name, packed), Is.EqualTo(InputContent.ReadAll("a.jsonl", Content)));

    [TestCase("a.jsonl.gz")]
    [TestCase("a.jsonl.zst")]
    public void A_file_that_is_cut_at_any_place_is_refused(string name)
    {
        byte[] packed = name.EndsWith("gz") ? InputContent.Gzip(Content) : InputContent.Zstd(Content);
        Assert.Multiple(() =>
        {
            for (int length = 0; length < packed.Length; length += length < 40 || length > packed.Length - 40 ? 1 : 37)
            {
                Assert.That(InputContent.Refuse(name, packed[..length]).Message, Does.Contain("is truncated or damaged"), $"{length} of {packed.Length} bytes");
            }
        });
    }

    [TestCase("a.jsonl.gz")]
    [TestCase("a.txt.zst")]
    public void A_file_that_is_not_compressed_is_refused(string name) => Assert.That(
        InputContent.Refuse(name, Content).Message, Does.Contain("is truncated or damaged: its compressed data cannot be read after 0 bytes of content. Copy or compress it again."));

    [Test]
    public void Rows_before_the_damage_are_read()
    {
        byte[] packed = InputContent.Gzip(Content);
        IEnumerator<(InputRow Row, RowPosition After)> rows = InputContent.Read("a.jsonl.gz", new MemoryStream(packed[..^10])).GetEnumerator();
        Assert.That(rows.MoveNext());
        Assert.That(rows.Current.Row.Text, Is.EqualTo("text 0"));
    }
}
