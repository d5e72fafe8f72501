using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// Common ways to write a call compile without ambiguity and reach the intended overload. An array also converts to a span and to
/// memory, and <c>new() { … }</c> fits any options type.
/// </summary>
internal sealed class OverloadTests
{
    private static readonly string[] Array = ["bread", "river"];
    private static readonly List<string> List = [.. Array];

    [Test]
    public void Model_overloads_accept_arrays_lists_and_collection_expressions()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new() { Threads = 1 });
        float[] rows = new float[2 * 256];
        var counts = new StellaTokenCount[2];
        foreach (StellaEmbeddings found in (StellaEmbeddings[])
        [
            model.Embed(Array), model.Embed(Array, null), model.Embed(Array, default), model.Embed(Array, new() { Prompt = StellaPrompt.Document }),
            model.Embed(List), model.Embed(List, null), model.Embed(List, default), model.Embed(List, new() { Prompt = StellaPrompt.Document }),
            model.Embed(["bread", "river"]), model.Embed(["bread", "river"], new() { Prompt = StellaPrompt.Document }),
        ])
        {
            Assert.That(found, Has.Count.EqualTo(2));
        }

        model.Embed(Array, rows, new() { Dimension = 256 });
        model.Embed(["bread", "river"], rows, new() { Dimension = 256 });
        model.Embed(Array, rows, counts, new() { Dimension = 256 });
        Assert.That(counts[0].Kept, Is.Positive);
        Assert.That(model.Embed("bread", new() { Dimension = 256 }), Is.EqualTo(rows[..256]));
        Assert.That(
            (model.Tokenize(Array).Length, model.Tokenize(List).Length, model.Tokenize(["bread", "river"], new()).Length), Is.EqualTo((2, 2, 2)));
    }

    [Test]
    public async Task Pool_overloads_accept_arrays_lists_and_collection_expressions()
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"), new() { MaxWorkers = 1 });
        float[] rows = new float[2 * 256];
        foreach (Task<StellaEmbeddings> call in (Task<StellaEmbeddings>[])
        [
            pool.EmbedAsync(Array), pool.EmbedAsync(Array, null), pool.EmbedAsync(Array, default), pool.EmbedAsync(Array, new() { Dimension = 256 }),
            pool.EmbedAsync(Array, null, new() { Priority = StellaPriority.Bulk }), pool.EmbedAsync(List, new() { Dimension = 256 }, new()),
            pool.EmbedAsync(["bread", "river"], new() { Dimension = 256 }), pool.EmbedAsync(["bread", "river"], null, new()),
        ])
        {
            Assert.That(await call, Has.Count.EqualTo(2));
        }

        StellaCallSummary summary = await pool.EmbedAsync(Array, rows, new() { Dimension = 256 });
        Assert.That(summary.TextCount, Is.EqualTo(2));
        Assert.That(await pool.EmbedAsync("bread", new() { Dimension = 256 }), Is.EqualTo(rows[..256]));
    }
}
