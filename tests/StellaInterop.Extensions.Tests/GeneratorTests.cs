using System.Collections;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.Tests;
using StellaInterop.Vectors;

namespace StellaInterop.Extensions.Tests;

/// <summary>Tests that the generator follows the contract of Microsoft.Extensions.AI.Abstractions.</summary>
internal sealed class GeneratorTests
{
    private static readonly string[] Texts = ["the river runs under the old stone bridge", "", "bread"];

    private StellaModel model = null!;
    private StellaEmbeddingPool pool = null!;
    private StellaEmbeddingGenerator documents = null!;

    [OneTimeSetUp]
    public void Load()
    {
        model = StellaModel.Load(Fixtures.Model("tiny-new"));
        pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        documents = new StellaEmbeddingGenerator(pool);
    }

    [OneTimeTearDown]
    public void Free()
    {
        documents.Dispose();
        pool.Dispose();
        model.Dispose();
    }

    [Test]
    public async Task Each_text_has_one_embedding_in_order()
    {
        GeneratedEmbeddings<Embedding<float>> found = await documents.GenerateAsync(Texts);
        Assert.That(found, Has.Count.EqualTo(Texts.Length));
        for (int i = 0; i < Texts.Length; i++)
        {
            Assert.That(found[i].Vector.ToArray(), Is.EqualTo(model.Embed(Texts[i])), $"text {i}");
        }
    }

    [Test]
    public async Task A_sequence_that_is_not_a_list_is_enumerated_once()
    {
        int reads = 0;
        IEnumerable<string> Sequence()
        {
            reads++;
            foreach (string text in Texts)
            {
                yield return text;
            }
        }

        Assert.That(await documents.GenerateAsync(Sequence()), Has.Count.EqualTo(Texts.Length));
        Assert.That(reads, Is.EqualTo(1));
    }

    [Test]
    public async Task An_empty_sequence_gives_no_embeddings()
    {
        GeneratedEmbeddings<Embedding<float>> found = await documents.GenerateAsync([]);
        Assert.That(found, Is.Empty);
        Assert.That(found.Usage!.TotalTokenCount, Is.Zero);
    }

    [Test]
    public void A_null_argument_is_refused_by_name() =>
        Assert.That(
            async () => await documents.GenerateAsync(null!),
            Throws.ArgumentNullException.With.Property(nameof(ArgumentException.ParamName)).EqualTo("values"));

    [Test]
    public async Task Embeddings_have_usage_model_and_time()
    {
        var clock = new FakeTimeProvider(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
        using var generator = new StellaEmbeddingGenerator(pool, timeProvider: clock);
        GeneratedEmbeddings<Embedding<float>> found = await generator.GenerateAsync(Texts);
        long tokens = Texts.Sum(text => (long)model.Tokenize(text).TokenCount.Kept);
        Assert.Multiple(() =>
        {
            Assert.That(found.Usage!.InputTokenCount, Is.EqualTo(tokens));
            Assert.That(found.Usage!.TotalTokenCount, Is.EqualTo(tokens));
            Assert.That(found, Has.All.Property(nameof(Embedding.ModelId)).EqualTo("tiny-new"));
            Assert.That(found, Has.All.Property(nameof(Embedding.CreatedAt)).EqualTo(clock.GetUtcNow()));
            Assert.That(found[0].GetTokenCount(), Is.EqualTo(model.Tokenize(Texts[0]).TokenCount));
        });
    }

    [Test]
    public async Task Truncated_texts_are_reported()
    {
        string longText = string.Join(' ', Enumerable.Repeat("river", 600));
        GeneratedEmbeddings<Embedding<float>> found = await documents.GenerateAsync(["bread", longText]);
        Assert.That(found.AdditionalProperties![StellaEmbeddingGenerator.TruncatedTextCountProperty], Is.EqualTo(1));
        StellaTokenCount count = found[1].GetTokenCount()!.Value;
        Assert.That(count.IsTruncated && count.Total > count.Kept);
        Assert.That(count, Is.EqualTo(model.Tokenize(longText).TokenCount));
        Assert.That((await documents.GenerateAsync(["bread"])).AdditionalProperties, Is.Null);
    }

    [Test]
    public async Task The_dimensions_of_the_options_are_used()
    {
        GeneratedEmbeddings<Embedding<float>> found =
            await documents.GenerateAsync(["bread"], new EmbeddingGenerationOptions { Dimensions = 256 });
        Assert.That(found[0].Vector.ToArray(), Is.EqualTo(model.Embed("bread", new StellaEmbedOptions { Dimension = 256 })));
    }

    [Test]
    public void A_dimension_without_a_head_is_refused() =>
        Assert.That(
            async () => await documents.GenerateAsync(["bread"], new EmbeddingGenerationOptions { Dimensions = 100 }),
            Throws.TypeOf<StellaOptionException>().With.Message.Contains("100"));

    [Test]
    public async Task The_name_of_another_model_is_refused()
    {
        Assert.That(
            async () => await documents.GenerateAsync(["bread"], new EmbeddingGenerationOptions { ModelId = "ada" }),
            Throws.ArgumentException.With.Message.Contains("ada").And.Message.Contains("tiny-new"));
        Assert.That(
            await documents.GenerateAsync(["bread"], new EmbeddingGenerationOptions { ModelId = "tiny-new" }), Has.Count.EqualTo(1));
    }

    [Test]
    public async Task The_prompt_comes_from_the_generator_the_properties_or_the_raw_options()
    {
        float[] query = model.Embed("bread", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery });
        using var queries = new StellaEmbeddingGenerator(pool, new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery });
        Assert.That((await queries.GenerateAsync(["bread"]))[0].Vector.ToArray(), Is.EqualTo(query));
        foreach (EmbeddingGenerationOptions options in new EmbeddingGenerationOptions[]
        {
            new() { AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = StellaPrompt.SearchQuery } },
            new() { AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = "s2p" } },
            new() { RawRepresentationFactory = _ => new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery } },
        })
        {
            Assert.That((await documents.GenerateAsync(["bread"], options))[0].Vector.ToArray(), Is.EqualTo(query));
        }

        Assert.That((await documents.GenerateAsync(["bread"]))[0].Vector.ToArray(), Is.Not.EqualTo(query), "the options of a call do not affect later calls");
    }

    [TestCase("querry", typeof(StellaOptionException), "Its prompts are s2p_query, s2s_query")]
    [TestCase("", typeof(ArgumentException), "empty")]
    [TestCase(7, typeof(ArgumentException), "it must be a StellaPrompt or the name of one")]
    public void An_unknown_or_invalid_prompt_is_refused(object prompt, Type type, string expectedText) =>
        Assert.That(
            async () => await documents.GenerateAsync(
                ["bread"],
                new EmbeddingGenerationOptions { AdditionalProperties = new() { [StellaEmbeddingGenerator.PromptProperty] = prompt } }),
            Throws.TypeOf(type).With.Message.Contains(expectedText));

    [Test]
    public void A_cancelled_token_cancels_the_call() =>
        Assert.That(
            async () => await documents.GenerateAsync(["bread"], null, new CancellationToken(canceled: true)),
            Throws.InstanceOf<OperationCanceledException>());

    [Test]
    public void GetService_returns_the_generator_its_formats_and_the_pool()
    {
        StellaEmbeddingGenerator generator = documents;
        Assert.Multiple(() =>
        {
            Assert.That(generator.GetService(typeof(StellaEmbeddingGenerator)), Is.SameAs(documents));
            Assert.That(generator.GetService(typeof(IEmbeddingGenerator<string, Embedding<float>>)), Is.SameAs(documents));
            Assert.That(
                generator.GetService(typeof(IEmbeddingGenerator<string, Embedding<Half>>)), Is.InstanceOf<IEmbeddingGenerator<string, Embedding<Half>>>());
            Assert.That(documents.AsHalf().GetService(typeof(StellaEmbeddingPool)), Is.SameAs(pool));
            Assert.That(generator.GetService(typeof(StellaEmbeddingPool)), Is.SameAs(pool));
            Assert.That(generator.GetService(typeof(StellaEmbeddingGenerator), "key"), Is.Null);
            Assert.That(generator.GetService(typeof(string)), Is.Null);
            Assert.That(() => generator.GetService(null!), Throws.ArgumentNullException);
        });
    }

    [Test]
    public async Task Metadata_has_provider_model_and_dimension()
    {
        await pool.WarmUpAsync();
        var metadata = documents.GetService<EmbeddingGeneratorMetadata>()!;
        Assert.That(
            (metadata.ProviderName, metadata.DefaultModelId, metadata.DefaultModelDimensions),
            Is.EqualTo(("stella", "tiny-new", (int?)model.Info.DefaultDimension)));
        using var small = new StellaEmbeddingGenerator(pool, new StellaEmbedOptions { Dimension = 256 });
        Assert.That(small.GetService<EmbeddingGeneratorMetadata>()!.DefaultModelDimensions, Is.EqualTo(256));
    }

    [Test]
    public async Task Only_a_generator_that_owns_its_pool_stops_working_after_dispose()
    {
        var borrowed = new StellaEmbeddingGenerator(pool);
        borrowed.Dispose();
        Assert.That(await borrowed.GenerateAsync(["bread"]), Has.Count.EqualTo(1));
        await using var ownPool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"));
        var own = new StellaEmbeddingGenerator(ownPool, ownsPool: true);
        _ = await own.GenerateAsync(["bread"]);
        own.Dispose();
        own.Dispose();
        Assert.That(async () => await own.GenerateAsync(["bread"]), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(own.GetService(typeof(EmbeddingGeneratorMetadata)), Is.Not.Null);
    }

    [Test]
    public async Task Smaller_number_formats_equal_the_conversions_of_the_library()
    {
        float[] vector = model.Embed("bread");
        var half = await documents.AsHalf().GenerateAsync(["bread"]);
        var expectedHalf = new Half[vector.Length];
        Quantization.ToHalf(vector, expectedHalf);
        Assert.That(half[0].Vector.ToArray(), Is.EqualTo(expectedHalf));

        var bytes = await documents.AsInt8().GenerateAsync(["bread"]);
        float scale = bytes[0].GetScale()!.Value;
        float[] back = new float[vector.Length];
        Quantization.FromInt8(bytes[0].Vector.Span, scale, back);
        Assert.That(Similarity.Cosine(vector, back), Is.GreaterThan(0.999f));

        var bits = await documents.AsBinary().GenerateAsync(["bread"]);
        byte[] packed = new byte[Quantization.GetBinaryLength(vector.Length)];
        Quantization.ToBinary(vector, packed);
        BitArray found = bits[0].Vector;
        float[] signs = new float[vector.Length];
        Quantization.FromBinary(packed, signs);
        Assert.That(Enumerable.Range(0, vector.Length).Select(i => found[i]), Is.EqualTo(signs.Select(sign => sign > 0)));
    }

    [Test]
    public async Task Concurrent_callers_get_the_vectors_of_their_texts()
    {
        float[][] expected = [.. Enumerable.Range(0, 100).Select(i => model.Embed($"text {i % 7}"))];
        await Parallel.ForEachAsync(Enumerable.Range(0, 100), async (i, token) =>
        {
            var found = await documents.GenerateAsync([$"text {i % 7}"], cancellationToken: token);
            Assert.That(found[0].Vector.ToArray(), Is.EqualTo(expected[i]));
        });
    }

    [Test]
    public async Task Extension_methods_of_the_abstractions_work_with_the_generator()
    {
        var pairs = await documents.GenerateAndZipAsync(Texts);
        Assert.That(pairs.Select(pair => pair.Value), Is.EqualTo(Texts));
        Assert.That((await documents.GenerateVectorAsync("bread")).ToArray(), Is.EqualTo(model.Embed("bread")));
    }
}
