using System.Collections;
using System.Collections.Concurrent;

namespace StellaInterop.Tests.Serving;

/// <summary>
/// Counts the reads and copies of a call:
/// <list type="bullet">
/// <item>The caller's list of texts is read once.</item>
/// <item>
/// Token ids are copied at most twice: from the buffer of the tokenizer into the array of the part, and from there into the packed batch.
/// Calls that share a text share the second copy. The fake model returns the array of the part, so the tests count the second copy.
/// </item>
/// <item>
/// A vector is copied once, from the rows of the worker into the caller's array. Memory that is not an array is filled once, at the end of
/// the call, from an array of the call.
/// </item>
/// </list>
/// </summary>
internal sealed class CopyTests
{
    [Test]
    public async Task Each_text_of_the_callers_list_is_read_once([Values(1, 300)] int count)
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        var texts = new CountingList([.. Enumerable.Range(0, count).Select(i => $"text {i:000}")]);
        StellaEmbeddings found = await pool.EmbedAsync(texts);
        Assert.That(found[count - 1].ToArray(), Is.EqualTo(FakeModel.Vector($"text {count - 1:000}")));
        Assert.That(texts.ReadsOfTexts, Is.All.EqualTo(1));
        Assert.That(texts.ReadsOfCount, Is.LessThanOrEqualTo(3));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_token_ids_of_each_text_are_read_once()
    {
        var reads = new ConcurrentDictionary<string, int>();
        FakeModel model = CountsReadsOfIds(reads);
        StellaEmbeddingPool pool = TestPool.Create(model);
        string[] texts = [.. Enumerable.Range(0, 300).Select(i => $"text {i:000}")];
        _ = await pool.EmbedAsync(texts);
        Assert.That(texts.Select(text => reads.GetValueOrDefault(text)), Is.All.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task The_token_ids_of_a_text_shared_by_ten_calls_are_read_once_in_all()
    {
        using var pause = new PausePoint();
        var reads = new ConcurrentDictionary<string, int>();
        FakeModel model = CountsReadsOfIds(reads);
        model.OnForward = _ => pause.Enter();
        StellaEmbeddingPool pool = TestPool.Create(model);
        Task<float[]> first = pool.EmbedAsync("first");
        await pause.EnteredAsync();
        Task<float[]>[] calls = [.. Enumerable.Range(0, 10).Select(_ => pool.EmbedAsync("shared"))];
        pause.Release();
        Assert.That(await Task.WhenAll(calls), Is.All.EqualTo(FakeModel.Vector("shared")));
        _ = await first;
        Assert.That(reads.GetValueOrDefault("shared"), Is.EqualTo(1));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    [Test]
    public async Task Memory_that_is_not_an_array_is_filled_once_after_the_last_forward_pass()
    {
        var model = new FakeModel();
        StellaEmbeddingPool pool = TestPool.Create(model);
        string[] texts = [.. Enumerable.Range(0, 300).Select(i => $"text {i:000}")];
        int forwardsAtAccess = 0;
        int vectorAccesses = 0;
        int countAccesses = 0;
        using var vectors = new CallbackMemory<float>(texts.Length * FakeModel.DefaultDimension, () =>
        {
            vectorAccesses++;
            forwardsAtAccess = model.Forwards;
        });
        using var counts = new CallbackMemory<StellaTokenCount>(texts.Length, () => countAccesses++);
        _ = await pool.EmbedAsync(texts, vectors.Memory, counts.Memory);
        Assert.That((vectorAccesses, countAccesses), Is.EqualTo((1, 1)));
        Assert.That(forwardsAtAccess, Is.EqualTo(model.Forwards).And.GreaterThan(10));
        Assert.That(vectors.Items, Is.EqualTo(texts.SelectMany(text => FakeModel.Vector(text))));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Overwrites a row between its delivery and the end of the call: a second write would restore the vector.</summary>
    [Test]
    public async Task Each_vector_is_written_into_the_callers_array_once()
    {
        const float Overwritten = -1;
        string[] texts = [new string('a', 99), new string('b', 99)];
        float[] vectors = new float[texts.Length * FakeModel.DefaultDimension];
        float[] delivered = [];
        var model = new FakeModel
        {
            OnForward = batch =>
            {
                // The worker delivers the vectors of its first batch before it takes the second.
                if (batch.Texts[0] == texts[1])
                {
                    delivered = vectors[..FakeModel.DefaultDimension];
                    vectors.AsSpan(0, FakeModel.DefaultDimension).Fill(Overwritten);
                }
            },
        };
        StellaEmbeddingPool pool = TestPool.Create(model);
        _ = await pool.EmbedAsync((ReadOnlyMemory<string>)texts, vectors);
        Assert.That(delivered, Is.EqualTo(FakeModel.Vector(texts[0])));
        Assert.That(vectors[..FakeModel.DefaultDimension], Is.All.EqualTo(Overwritten));
        Assert.That(vectors[FakeModel.DefaultDimension..], Is.EqualTo(FakeModel.Vector(texts[1])));
        await TestPool.DisposeAndCheckAsync(pool, model);
    }

    /// <summary>Creates a model that counts the reads of the token ids of each text.</summary>
    private static FakeModel CountsReadsOfIds(ConcurrentDictionary<string, int> reads) => new()
    {
        MakeIds = (text, ids) =>
        {
            var memory = new CallbackMemory<uint>(ids.Length, () => reads.AddOrUpdate(text, 1, (_, count) => count + 1));
            ids.CopyTo(memory.Items, 0);
            return memory.Memory;
        },
    };

    /// <summary>A list that counts the reads of each text, by index or enumeration, and of its length.</summary>
    private sealed class CountingList(string[] texts) : IReadOnlyList<string>
    {
        public int[] ReadsOfTexts { get; } = new int[texts.Length];

        public int ReadsOfCount { get; private set; }

        public int Count
        {
            get
            {
                ReadsOfCount++;
                return texts.Length;
            }
        }

        public string this[int index]
        {
            get
            {
                ReadsOfTexts[index]++;
                return texts[index];
            }
        }

        public IEnumerator<string> GetEnumerator()
        {
            for (int i = 0; i < texts.Length; i++)
            {
                yield return this[i];
            }
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    }
}
