using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

internal sealed class PoolEmbedderTests
{
    private static readonly StellaBulkOptions Options =
        new() { Inputs = ["in"], Output = "out", LongTextBehavior = StellaLongTextBehavior.Error };

    [Test]
    public async Task Blocks_that_begin_together_end_one_after_the_other()
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("stella-mini"));
        var embedder = new PoolEmbedder(pool, Options, callLength: 50);
        EmbedderInfo info = await embedder.OpenAsync(CancellationToken.None);
        var ended = new List<int>();
        await Task.WhenAll(Enumerable.Range(0, 3).Select(EmbedAsync));
        Assert.That(ended, Is.EqualTo([0, 1, 2]));

        async Task EmbedAsync(int index)
        {
            var block = Block(info, [.. Enumerable.Range(0, 200).Select(i => $"block {index} and text {i}")]);
            await embedder.EmbedAsync(block, CancellationToken.None);
            lock (ended)
            {
                ended.Add(index);
            }
        }
    }

    [Test]
    public async Task Each_text_has_its_vector_count_and_fault_whatever_the_length_of_a_call([Values(1, 100, 100_000)] int callLength)
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("stella-mini"));
        var embedder = new PoolEmbedder(pool, Options, callLength);
        EmbedderInfo info = await embedder.OpenAsync(CancellationToken.None);
        string tooLong = string.Concat(Enumerable.Repeat("word ", 20_000));
        string[] texts = [.. Enumerable.Range(0, 20).Select(i => i == 3 ? tooLong : i == 11 ? "half \ud800 a pair" : $"text {i}")];
        TextBlock block = Block(info, texts);
        await embedder.EmbedAsync(block, CancellationToken.None);
        for (int i = 0; i < texts.Length; i++)
        {
            RowFaultKind? fault = i == 3 ? RowFaultKind.TooManyTokens : i == 11 ? RowFaultKind.NotUnicode : null;
            Assert.That(block.Faults[i], Is.EqualTo(fault));
            if (fault is null)
            {
                StellaEmbeddings alone = await pool.EmbedAsync([texts[i]]);
                int dimension = info.Dimensions[0];
                Assert.That(block.Vectors[0].AsSpan(i * dimension, dimension).SequenceEqual(alone[0].Span), Is.True, texts[i]);
                Assert.That(block.TokenCounts[i], Is.EqualTo(alone.TokenCounts[0]));
            }
        }
    }

    private static TextBlock Block(EmbedderInfo info, string[] texts) =>
        new(texts, [.. info.Dimensions.Select(dimension => new float[texts.Length * dimension])]);
}
