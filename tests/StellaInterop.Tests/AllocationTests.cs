namespace StellaInterop.Tests;

/// <summary>Embedding into the caller's memory takes nothing from the collector once a call of its size has been made.</summary>
internal sealed class AllocationTests
{
    private const int Dimension = 256;

    private StellaModel model = null!;

    [OneTimeSetUp]
    public void Load() => model = StellaModel.Load(Tree.Model("tiny-new"), new StellaModelOptions { Threads = 1 });

    [OneTimeTearDown]
    public void Free() => model.Dispose();

    [Test]
    public void A_short_text_takes_nothing([Prompts] StellaPrompt prompt, [Values] bool cancellable) =>
        Assert.That(BytesOf(["the river runs under the old stone bridge"], calls: 100, prompt, cancellable), Is.Zero);

    [Test]
    public void Texts_of_several_packs_and_batches_take_nothing([Prompts] StellaPrompt prompt)
    {
        // More texts than a pack holds, more tokens than a native call takes, and not all of one length.
        string[] texts = [.. Enumerable.Range(0, 260).Select(i => string.Join(' ', Enumerable.Repeat("river", 40 + (i % 60))))];
        Assert.That(model.Tokenize(texts).Take(256).Sum(tokens => tokens.TokenCount.Kept), Is.GreaterThan(ModelLimits.DefaultBatchTokens));
        Assert.That(BytesOf(texts, calls: 3, prompt, cancellable: true), Is.Zero);
    }

    [Test]
    public void A_thread_that_never_called_takes_nothing()
    {
        _ = BytesOf(["river", "stone"], calls: 1, StellaPrompt.SearchQuery, cancellable: false);
        long bytes = -1;
        var thread = new Thread(() => bytes = BytesOf(["river", "stone"], calls: 1, StellaPrompt.SearchQuery, cancellable: false, warmUp: 0));
        thread.Start();
        thread.Join();
        Assert.That(bytes, Is.Zero);
    }

    [Test]
    public void A_text_of_a_million_characters_takes_nothing([Values("a", "a ", " ")] string part) => Assert.That(
        BytesOf([string.Concat(Enumerable.Repeat(part, 1_000_000 / part.Length))], calls: 1, StellaPrompt.Document, cancellable: false),
        Is.Zero);

    /// <summary>What the calls took on this thread, after as many as <paramref name="warmUp"/> others.</summary>
    private long BytesOf(string[] texts, int calls, StellaPrompt prompt, bool cancellable, int warmUp = 1)
    {
        using var source = new CancellationTokenSource();
        CancellationToken token = cancellable ? source.Token : CancellationToken.None;
        var options = new StellaEmbedOptions { Prompt = prompt, Dimension = Dimension };
        float[] vectors = new float[texts.Length * Dimension];
        var counts = new StellaTokenCount[texts.Length];
        Embed(warmUp);
        // What the collector may empty, such as caches of the runtime, no call may need.
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
