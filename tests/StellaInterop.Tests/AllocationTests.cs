namespace StellaInterop.Tests;

/// <summary>Embedding into the caller's memory allocates no managed memory after a first call of the same size.</summary>
internal sealed class AllocationTests
{
    private const int Dimension = 256;

    private StellaModel model = null!;

    [OneTimeSetUp]
    public void Load() => model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });

    [OneTimeTearDown]
    public void Free() => model.Dispose();

    [Test]
    public void Embedding_a_short_text_allocates_nothing([Prompts] StellaPrompt prompt, [Values] bool cancellable) =>
        Assert.That(AllocatedBytes(["the river runs under the old stone bridge"], calls: 100, prompt, cancellable), Is.Zero);

    [Test]
    public void Embedding_several_packs_and_batches_allocates_nothing([Prompts] StellaPrompt prompt)
    {
        // More texts than a pack holds, more tokens than a native call takes, and different lengths.
        string[] texts = [.. Enumerable.Range(0, 260).Select(i => string.Join(' ', Enumerable.Repeat("river", 40 + (i % 60))))];
        Assert.That(model.Tokenize(texts).Take(256).Sum(tokens => tokens.TokenCount.Kept), Is.GreaterThan(ModelLimits.DefaultBatchTokens));
        Assert.That(AllocatedBytes(texts, calls: 3, prompt, cancellable: true), Is.Zero);
    }

    [Test]
    public void The_first_call_of_a_thread_allocates_nothing()
    {
        _ = AllocatedBytes(["river", "stone"], calls: 1, StellaPrompt.SearchQuery, cancellable: false);
        long bytes = -1;
        var thread = new Thread(() => bytes = AllocatedBytes(["river", "stone"], calls: 1, StellaPrompt.SearchQuery, cancellable: false, warmUp: 0));
        thread.Start();
        thread.Join();
        Assert.That(bytes, Is.Zero);
    }

    [Test]
    public void Embedding_a_text_of_a_million_characters_allocates_nothing([Values("a", "a ", " ")] string part) => Assert.That(
        AllocatedBytes([string.Concat(Enumerable.Repeat(part, 1_000_000 / part.Length))], calls: 1, StellaPrompt.Document, cancellable: false),
        Is.Zero);

    /// <summary>Returns the bytes that the calls allocate on this thread, after <paramref name="warmUp"/> other calls.</summary>
    private long AllocatedBytes(string[] texts, int calls, StellaPrompt prompt, bool cancellable, int warmUp = 1)
    {
        using var source = new CancellationTokenSource();
        CancellationToken token = cancellable ? source.Token : CancellationToken.None;
        var options = new StellaEmbedOptions { Prompt = prompt, Dimension = Dimension };
        float[] vectors = new float[texts.Length * Dimension];
        var counts = new StellaTokenCount[texts.Length];
        Embed(warmUp);
        // A collection may empty caches of the runtime. A call must not depend on them.
        GC.Collect();
        long before = GC.GetAllocatedBytesForCurrentThread();
        Embed(calls);
        return GC.GetAllocatedBytesForCurrentThread() - before;

        void Embed(int times)
        {
            for (int i = 0; i < times; i++)
            {
                model.Embed(texts, vectors, options, token);
                model.Embed(texts, vectors, counts, options, token);
            }
        }
    }
}
