using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>The vector of a text does not depend on the batch, the number of threads or other callers.</summary>
internal sealed class BatchTests
{
    private static readonly StellaEmbedOptions Raw256 = new() { Dimension = 256, Normalize = false };

    [TestCase("tiny-new")]
    [TestCase("tiny-qwen2")]
    public void A_text_has_the_same_bits_in_a_batch_and_alone(string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name));
        string[] texts = Texts(name, 600);
        float[] batch = new float[texts.Length * 256];
        var counts = new StellaTokenCount[texts.Length];
        model.Embed(texts, batch, counts, Raw256);
        Assert.Multiple(() =>
        {
            for (int i = 0; i < texts.Length; i += 7)
            {
                Assert.That(batch.AsSpan(i * 256, 256).SequenceEqual(model.Embed(texts[i], Raw256)), Is.True, $"text {i}");
                Assert.That(counts[i], Is.EqualTo(model.Tokenize(texts[i]).TokenCount), $"text {i}");
            }
        });
    }

    [Test]
    public void The_number_of_threads_does_not_change_the_vectors()
    {
        string[] texts = Texts("tiny-new", 40);
        float[][] results = [.. new[] { 1, 2, 3 }.Select(threads =>
        {
            using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = threads });
            float[] vectors = new float[texts.Length * 256];
            model.Embed(texts, vectors, Raw256);
            return vectors;
        })];
        Assert.That(results[1].AsSpan().SequenceEqual(results[0]), Is.True);
        Assert.That(results[2].AsSpan().SequenceEqual(results[0]), Is.True);
    }

    [Test]
    public void Concurrent_callers_get_the_vectors_of_a_single_caller()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-qwen2"), new StellaModelOptions { Threads = 1 });
        string[] texts = Texts("tiny-qwen2", 24);
        float[][] alone = [.. texts.Select(text => model.Embed(text, Raw256))];
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, worker =>
        {
            for (int i = 0; i < texts.Length; i++)
            {
                int at = (i + (worker * 3)) % texts.Length;
                Assert.That(model.Embed(texts[at], Raw256).AsSpan().SequenceEqual(alone[at]), Is.True, $"text {at}");
            }
        });
    }

    /// <summary>Repeats the texts of a golden file, so that long and short texts share a batch.</summary>
    private static string[] Texts(string name, int count)
    {
        // Leaves out the longest texts, which only take time.
        string[] golden = [.. Golden.Read(name).Cases.Where(c => c.TotalTokens < 80).Select(c => c.Text)];
        return [.. Enumerable.Range(0, count).Select(i => $"{golden[i * 31 % golden.Length]} {i % 17}")];
    }
}
