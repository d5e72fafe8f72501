namespace StellaInterop.Tests;

/// <summary>Token ids and vectors compared with a float64 reference, for every model and stored data type.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class GoldenTests
{
    [TestCaseSource(typeof(Golden), nameof(Golden.Models))]
    public void Token_ids_and_counts_match_the_reference(string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name));
        Assert.Multiple(() =>
        {
            foreach (GoldenCase golden in Golden.Read(name).Cases)
            {
                StellaTokens tokens = model.Tokenize(golden.Text, new StellaEmbedOptions { Prompt = golden.Prompt });
                Assert.That(tokens.Ids.ToArray(), Is.EqualTo(golden.Ids), golden.Name);
                Assert.That(tokens.TokenCount, Is.EqualTo(new StellaTokenCount
                {
                    Kept = golden.Ids.Length,
                    Total = golden.TotalTokens,
                    Truncation = golden.TotalTokens > golden.Ids.Length ? StellaTruncation.Tokens : StellaTruncation.None,
                }), golden.Name);
            }
        });
    }

    [TestCaseSource(typeof(Golden), nameof(Golden.Models))]
    public void BFloat16_and_int8_vectors_are_close_to_the_reference(string name)
    {
        IReadOnlyList<GoldenCase> cases = Golden.Read(name).Cases;
        foreach ((StellaPrecision precision, double minimum) in new[] { (StellaPrecision.BFloat16, 0.999), (StellaPrecision.Int8, 0.99) })
        {
            using StellaModel model = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Precision = precision });
            Assert.That((model.Info.Precision, model.Info.Encoder), Is.EqualTo((precision, StellaEncoder.Kernels)));
            foreach (GoldenCase golden in cases)
            {
                float[] reference = golden.Vectors[256];
                float[] vector = model.Embed(golden.Text, new StellaEmbedOptions { Prompt = golden.Prompt, Dimension = 256 });
                Assert.That(Vectors.Cosine(vector, reference), Is.GreaterThan(minimum), $"{precision} {golden.Name}");
            }
        }
    }

    [TestCase("tiny-new")]
    [TestCase("tiny-qwen2")]
    public void Vectors_of_the_candle_encoder_match_those_of_the_kernels(string name)
    {
        using StellaModel kernels = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Precision = StellaPrecision.Float32 });
        using StellaModel candle = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Encoder = StellaEncoder.Candle });
        Assert.That((candle.Info.Encoder, candle.Info.Precision), Is.EqualTo((StellaEncoder.Candle, StellaPrecision.Float32)));
        foreach (GoldenCase golden in Golden.Read(name).Cases)
        {
            var options = new StellaEmbedOptions { Prompt = golden.Prompt };
            Assert.That(Vectors.Distance(kernels.Embed(golden.Text, options), candle.Embed(golden.Text, options)), Is.LessThan(2e-6), golden.Name);
        }
    }

    [TestCaseSource(typeof(Golden), nameof(Golden.Models))]
    public void Vectors_of_every_dimension_match_the_reference(string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Precision = StellaPrecision.Float32 });
        int compared = 0;
        Assert.Multiple(() =>
        {
            foreach (GoldenCase golden in Golden.Read(name).Cases)
            {
                foreach (var (dimension, reference) in golden.Vectors)
                {
                    var options = new StellaEmbedOptions { Prompt = golden.Prompt, Dimension = dimension, Normalize = false };
                    float[] raw = model.Embed(golden.Text, options);
                    Assert.That(Vectors.Distance(raw, reference), Is.LessThan(1e-4), $"{golden.Name} {dimension}");
                    Assert.That(Vectors.Cosine(raw, reference), Is.GreaterThan(0.999999), $"{golden.Name} {dimension}");
                    float[] unit = model.Embed(golden.Text, options with { Normalize = true });
                    double norm = Vectors.Norm(reference);
                    Assert.That(
                        Vectors.Distance(unit, [.. reference.Select(x => (float)(x / norm))]), Is.LessThan(2e-6), $"{golden.Name} {dimension}");
                    compared++;
                }
            }
        });
        Assert.That(compared, Is.GreaterThanOrEqualTo(10));
    }

    [TestCaseSource(typeof(Golden), nameof(Golden.Models))]
    public void Normalized_vectors_have_length_one_and_the_cosines_of_the_reference(string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Precision = StellaPrecision.Float32 });
        var (texts, cosine) = Golden.Read(name).Pairs();
        foreach (var (dimension, matrix) in cosine)
        {
            float[] vectors = new float[texts.Length * dimension];
            model.Embed(texts, vectors, new StellaEmbedOptions { Dimension = dimension });
            for (int i = 0; i < texts.Length; i++)
            {
                var row = vectors.AsSpan(i * dimension, dimension);
                Assert.That(Vectors.Norm(row), Is.EqualTo(1).Within(1e-6));
                for (int j = 0; j < texts.Length; j++)
                {
                    double found = Vectors.Cosine(row, vectors.AsSpan(j * dimension, dimension));
                    Assert.That(found, Is.EqualTo(matrix[i][j]).Within(1e-5), $"{dimension}: {i}, {j}");
                }
            }
        }
    }

    [Test]
    public void The_shipped_tokenizer_produces_the_ids_of_bert_base_uncased()
    {
        using StellaModel model = StellaModel.Load(
            Fixtures.Model("stella-mini"), new StellaModelOptions { MaxTokens = ModelLimits.MaxTextTokens });
        IReadOnlyList<GoldenCase> cases = Golden.Read("tokenizer-bert").Cases;
        StellaTokens[] tokens = model.Tokenize([.. cases.Select(golden => golden.Text)]);
        Assert.Multiple(() =>
        {
            Assert.That(cases, Has.Count.EqualTo(100));
            for (int i = 0; i < tokens.Length; i++)
            {
                Assert.That(tokens[i].Ids.ToArray(), Is.EqualTo(cases[i].Ids), cases[i].Name);
            }
        });
    }
}
