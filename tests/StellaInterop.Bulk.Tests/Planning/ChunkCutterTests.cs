using CsCheck;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Tests.Planning;

internal sealed class ChunkCutterTests
{
    [Test]
    public void Chunks_cover_all_rows_in_order_and_have_the_least_tokens() =>
        Gen.Select(Gen.Int[1, 60].Array[0, 300], Gen.Int[1, 200]).Sample((tokens, chunkTokens) =>
        {
            Chunk[] chunks = Cut(tokens, chunkTokens);
            Assert.That(chunks.Sum(chunk => chunk.RowCount), Is.EqualTo(tokens.Length));
            Assert.That(chunks.Sum(chunk => chunk.Tokens), Is.EqualTo(tokens.Sum()));
            Assert.That(chunks.SkipLast(1).All(chunk => chunk.Tokens >= chunkTokens), Is.True);
            Assert.That(chunks.All(chunk => chunk.RowCount > 0 && chunk.Tokens < chunkTokens + 60), Is.True);
            long row = 0;
            foreach (Chunk chunk in chunks)
            {
                Assert.That(chunk.Position.Number, Is.EqualTo(row));
                ulong checksum = 0;
                for (long i = 0; i < chunk.RowCount; i++)
                {
                    checksum = RowChecksum.Add(checksum, 0, Row(row++));
                }

                Assert.That(chunk.Checksum, Is.EqualTo(checksum));
            }
        });

    [Test]
    public void A_large_input_has_few_chunks_and_each_has_the_checksum_of_its_rows()
    {
        Chunk[] chunks = Cut([.. Enumerable.Repeat(10, 200_000)], chunkTokens: 10);
        Assert.That(chunks, Has.Length.LessThanOrEqualTo(ChunkCutter.UsualChunkLimit).And.Length.GreaterThan(ChunkCutter.UsualChunkLimit / 3));
        Chunk middle = chunks[chunks.Length / 2];
        ulong checksum = 0;
        for (long i = 0; i < middle.RowCount; i++)
        {
            checksum = RowChecksum.Add(checksum, 0, Row(middle.Position.Number + i));
        }

        Assert.That(middle.Checksum, Is.EqualTo(checksum));
    }

    [Test]
    public void No_rows_have_no_chunks() => Assert.That(Cut([], 10), Is.Empty);

    [Test]
    public void A_chunk_spans_small_files()
    {
        var cutter = new ChunkCutter(chunkTokens: 100);
        for (int file = 0; file < 5; file++)
        {
            cutter.Add(file, default, Row(0), tokens: 30);
        }

        Chunk[] chunks = cutter.Finish();
        Assert.That(chunks.Select(chunk => (chunk.File, chunk.RowCount)), Is.EqualTo([(0, 4L), (4, 1L)]));
    }

    [Test]
    public void The_checksum_depends_on_id_text_fault_number_file_and_order()
    {
        InputRow row = new(1, "id", "text", null);
        InputRow[] others =
        [
            row with { Id = "ie" }, row with { Id = null }, row with { Id = "" }, row with { Text = "texts" }, row with { Text = "" }, row with { Number = 2 },
            row with { Text = null, Fault = new RowFault(RowFaultKind.NullText, "") }, row with { Text = null, Fault = new RowFault(RowFaultKind.MissingText, "") },
        ];
        ulong[] sums = [.. others.Append(row).Select(other => RowChecksum.Add(0, 0, other)), RowChecksum.Add(0, 1, row)];
        Assert.That(sums, Is.Unique);
        Assert.That(
            RowChecksum.Add(RowChecksum.Add(0, 0, row), 0, others[0]), Is.Not.EqualTo(RowChecksum.Add(RowChecksum.Add(0, 0, others[0]), 0, row)));
    }

    [TestCase("", 2)]
    [TestCase("a", 3)]
    [TestCase("abcd", 3)]
    [TestCase("abcde", 4)]
    [TestCase("äöü", 4)]
    public void Tokens_are_estimated_from_bytes(string text, long tokens) =>
        Assert.That(TokenEstimate.Of(new InputRow(1, null, text, null), 512), Is.EqualTo(tokens));

    [Test]
    public void A_text_counts_at_most_the_limit_and_a_fault_little()
    {
        Assert.That(TokenEstimate.Of(new InputRow(1, null, new string('x', 10_000), null), 512), Is.EqualTo(512));
        Assert.That(TokenEstimate.Of(new InputRow(1, null, null, new RowFault(RowFaultKind.NullText, "")), 512), Is.EqualTo(2));
    }

    private static Chunk[] Cut(int[] tokens, int chunkTokens)
    {
        var cutter = new ChunkCutter(chunkTokens);
        for (int i = 0; i < tokens.Length; i++)
        {
            cutter.Add(0, new RowPosition(i, 10 * i), Row(i), tokens[i]);
        }

        return cutter.Finish();
    }

    private static InputRow Row(long index) => new(index + 1, null, $"text {index}", null);
}
