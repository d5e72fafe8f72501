using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Model info, token ids and vectors of folders in every form that the Python libraries write, compared with the reference.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class FormTests
{
    [TestCaseSource(typeof(FormGolden), nameof(FormGolden.Forms))]
    public void Model_info_matches_the_golden_file(string name)
    {
        FormGolden golden = FormGolden.Read(name);
        using StellaModel model = StellaModel.Load(golden.Folder);
        StellaModelInfo info = model.Info;
        Assert.Multiple(() =>
        {
            Assert.That(info.MaxTokens, Is.EqualTo(Math.Min(golden.MaxTokens, ModelLimits.MaxTextTokens)));
            Assert.That(info.Dimensions, Is.EqualTo(golden.Dimensions));
            Assert.That(info.PoolingMode, Is.EqualTo(golden.Pooling));
            Assert.That(info.IncludesPrompt, Is.EqualTo(golden.IncludesPrompt));
            Assert.That(info.DefaultPrompt, Is.EqualTo(golden.DefaultPrompt));
            Assert.That(
                info.Prompts.Where(prompt => !prompt.IsFromModelCard).ToDictionary(prompt => prompt.Name, prompt => prompt.Text),
                Is.EquivalentTo(golden.Prompts));
        });
    }

    [TestCaseSource(typeof(FormGolden), nameof(FormGolden.Forms))]
    public void Token_ids_and_vectors_match_the_reference(string name)
    {
        FormGolden golden = FormGolden.Read(name);
        var options = new StellaModelOptions { Precision = StellaPrecision.Float32 };
        foreach (IGrouping<int?, FormCase> group in golden.Cases.GroupBy(form => form.MaxTokens))
        {
            using StellaModel model = StellaModel.Load(golden.Folder, options with { MaxTokens = group.Key });
            foreach (FormCase form in group)
            {
                var embed = new StellaEmbedOptions { Prompt = form.Prompt, Normalize = false };
                StellaTokens tokens = model.Tokenize(form.Text, embed);
                Assert.That(tokens.Ids.ToArray(), Is.EqualTo(form.Ids), form.Name);
                Assert.That(tokens.TokenCount.Total, Is.EqualTo(form.TotalTokens), form.Name);
                foreach ((int dimension, float[] expected) in form.Vectors)
                {
                    Compare(model.Embed(form.Text, embed with { Dimension = dimension }), expected, form.Name);
                }
            }
        }
    }

    /// <summary>Texts with different prompts share batches, so each text must carry the number of prompt tokens to leave out.</summary>
    [TestCaseSource(typeof(FormGolden), nameof(FormGolden.Forms))]
    public async Task Vectors_of_a_pool_match_the_reference(string name)
    {
        FormGolden golden = FormGolden.Read(name);
        await using var pool = new StellaEmbeddingPool(
            golden.Folder, new StellaModelOptions { Precision = StellaPrecision.Float32, Threads = 1 });
        FormCase[] cases = [.. golden.Cases.Where(form => form.MaxTokens is null)];
        float[][] vectors = await Task.WhenAll(cases.Select(form =>
            pool.EmbedAsync(form.Text, new StellaEmbedOptions { Prompt = form.Prompt, Normalize = false })));
        for (int i = 0; i < cases.Length; i++)
        {
            Compare(vectors[i], cases[i].Vectors[vectors[i].Length], cases[i].Name);
        }
    }

    [TestCase("gte-base", "first token")]
    [TestCase("gte-qwen2-template", "last token")]
    public void Vectors_of_parts_are_refused_unless_the_model_uses_mean_pooling(string name, string pooling)
    {
        using StellaModel model = StellaModel.Load(FormGolden.Read(name).Folder);
        Assert.That(model.EmbedTokens("a river").HiddenStates.Length, Is.Positive, pooling);
        var error = Assert.Catch<StellaException>(() => model.EmbedParts("a river", new[] { ..1 }, new float[model.Info.DefaultDimension]))!;
        Assert.That(error.Message, Does.Contain("need mean pooling"));
        using StellaModel mean = StellaModel.Load(FormGolden.Read("kalm").Folder);
        mean.EmbedParts("a river", new[] { ..1 }, new float[mean.Info.DefaultDimension]);
    }

    [Test]
    public async Task A_text_without_tokens_is_refused_with_its_index()
    {
        string folder = FormGolden.Read("kalm").Folder;
        using StellaModel model = StellaModel.Load(folder);
        var error = Assert.Throws<StellaInputException>(() => model.Embed(["a river", ""], new float[2 * model.Info.DefaultDimension]))!;
        Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotTokenized, 1)));
        Assert.That(error.InnerException!.Message, Does.Contain("The text has no token"));
        await using var pool = new StellaEmbeddingPool(folder);
        error = Assert.ThrowsAsync<StellaInputException>(() => pool.EmbedAsync(["a river", ""]))!;
        Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotTokenized, 1)));
        Assert.That(await pool.EmbedAsync("a river"), Has.Length.EqualTo(model.Info.DefaultDimension));
    }

    [Test]
    public async Task A_pool_uses_the_token_limit_of_the_folder()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        folder.Edit("sentence_bert_config.json", "512", "4096");
        string text = string.Join(' ', Enumerable.Repeat("river", 3000));
        await using var pool = new StellaEmbeddingPool(folder.Path, new StellaModelOptions { Threads = 1 });
        StellaEmbeddings found = await pool.EmbedAsync([text, "river", text]);
        using var model = StellaModel.Load(folder.Path, new StellaModelOptions { Threads = 1 });
        Assert.That(found.TokenCounts[0], Is.EqualTo(model.Tokenize(text).TokenCount));
        Assert.That((found.TokenCounts[0].Kept, model.Info.MaxTokens), Is.EqualTo((4096, 4096)));
        Assert.That(found[2].ToArray(), Is.EqualTo(model.Embed(text)));
    }

    private static void Compare(float[] vector, float[] expected, string name)
    {
        Assert.That(Vectors.Distance(vector, expected), Is.LessThan(1e-4), name);
        Assert.That(Vectors.Cosine(vector, expected), Is.GreaterThan(0.999999), name);
    }
}
