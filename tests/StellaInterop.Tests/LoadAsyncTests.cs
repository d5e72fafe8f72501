using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Loading a model asynchronously, and embedding a list.</summary>
internal sealed class LoadAsyncTests
{
    private static nuint LiveModels => NativeMethods.stella_live_handles((uint)NativeHandleKind.Model);

    [Test]
    public async Task LoadAsync_copies_its_options_and_loads_the_same_model_as_Load()
    {
        var options = new StellaModelOptions { Dimension = 256, Threads = 1 };
        Task<StellaModel> loading = StellaModel.LoadAsync(Fixtures.Model("tiny-new"), options);
        options.Dimension = 768;
        using StellaModel model = await loading;
        using StellaModel expected = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Dimension = 256, Threads = 1 });
        Assert.That(model.Embed("bread"), Is.EqualTo(expected.Embed("bread")));
    }

    [Test]
    public void LoadAsync_throws_argument_errors_at_once_and_folder_errors_from_the_task()
    {
        Assert.That(() => { _ = StellaModel.LoadAsync(""); }, Throws.ArgumentException);
        Assert.That(
            () => { _ = StellaModel.LoadAsync("/nowhere", new StellaModelOptions { Threads = 0 }); }, Throws.TypeOf<ArgumentOutOfRangeException>());
        Task<StellaModel> loading = StellaModel.LoadAsync("/nowhere");
        Assert.That(async () => await loading, Throws.TypeOf<StellaModelFolderException>());
    }

    [Test]
    [NonParallelizable]
    public async Task A_cancelled_load_ends_and_frees_its_model()
    {
        nuint before = LiveModels;
        for (int i = 0; i < 20; i++)
        {
            using var cancel = new CancellationTokenSource();
            Task<StellaModel> loading = StellaModel.LoadAsync(Fixtures.Model("tiny-new"), cancellationToken: cancel.Token);
            await cancel.CancelAsync();
            try
            {
                (await loading.WaitAsync(TimeSpan.FromSeconds(60))).Dispose();
            }
            catch (OperationCanceledException)
            {
            }
        }

        Assert.That(() => { _ = StellaModel.LoadAsync(Fixtures.Model("tiny-new"), cancellationToken: new CancellationToken(true)).GetAwaiter().GetResult(); }, Throws.InstanceOf<OperationCanceledException>());
        await Eventually.IsTrueAsync(() => LiveModels == before, "the model of a cancelled load was not freed");
    }

    [Test]
    public async Task A_model_whose_load_ends_after_cancellation_is_disposed()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        using var loaded = new ManualResetEventSlim();
        using var cancel = new CancellationTokenSource();
        Task<StellaModel> loading = ModelLoading.RunAsync(
            () =>
            {
                Eventually.IsSet(loaded);
                return model;
            },
            cancel.Token);
        await cancel.CancelAsync();
        Assert.That(async () => await loading, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => model.Tokenize("bread"), Throws.Nothing);
        loaded.Set();
        await Eventually.IsTrueAsync(
            () =>
            {
                try
                {
                    _ = model.Tokenize("bread");
                    return false;
                }
                catch (ObjectDisposedException)
                {
                    return true;
                }
            },
            "the model was not disposed");
    }

    [Test]
    public void Embed_of_a_list_returns_one_row_per_text()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1, MaxTokens = 8 });
        string[] texts = ["bread", "a text of far more than eight tokens about bread and rivers and other things", "river"];
        StellaEmbeddings found = model.Embed(texts);
        float[] rows = new float[texts.Length * found.Dimension];
        var counts = new StellaTokenCount[texts.Length];
        model.Embed(texts, rows, counts);
        Assert.Multiple(() =>
        {
            Assert.That(found, Has.Count.EqualTo(3));
            Assert.That(found.Vectors.ToArray(), Is.EqualTo(rows));
            Assert.That(found.Select(vector => vector.ToArray()), Is.EqualTo(texts.Select(text => model.Embed(text))));
            Assert.That(found.TokenCounts, Is.EqualTo(counts));
            Assert.That(
                (found.Summary.TextCount, found.Summary.TokenCount, found.Summary.TruncatedTextCount, found.Summary.QueueTime),
                Is.EqualTo((3, counts.Sum(count => (long)count.Kept), 1, TimeSpan.Zero)));
            Assert.That(() => found[3], Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(model.Embed([]), Is.Empty);
        });
    }
}
