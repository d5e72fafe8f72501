using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Hidden states and offsets of tokens, and vectors of parts of a text (late chunking).</summary>
internal sealed class TokenEmbeddingTests
{
    private const string Text = "The river 🌊 runs. Ärger at the bank of the stone bridge.";

    [TestCase("tiny-new", "document")]
    [TestCase("tiny-new", "s2p")]
    [TestCase("tiny-qwen2", "s2s")]
    public void A_part_that_is_the_whole_text_has_the_mean_of_its_token_vectors(string name, string promptName)
    {
        StellaPrompt prompt = StellaPrompt.FromName(promptName);
        using var model = StellaModel.Load(Fixtures.Model(name));
        var options = new StellaEmbedOptions { Prompt = prompt, Dimension = 256, Normalize = false };
        StellaTokenEmbeddings tokens = model.EmbedTokens(Text, options);
        Assert.That(tokens.Ids.ToArray(), Is.EqualTo(model.Tokenize(Text, options).Ids.ToArray()));
        Assert.That(tokens.HiddenStates.Length, Is.EqualTo(tokens.Ids.Length * model.Info.HiddenSize));
        Assert.That(tokens.GetHiddenState(1).ToArray(), Is.EqualTo(tokens.HiddenStates.Slice(tokens.HiddenSize, tokens.HiddenSize).ToArray()));
        Assert.That(() => tokens.GetHiddenState(tokens.Ids.Length).Length, Throws.TypeOf<ArgumentOutOfRangeException>());

        // The head is linear, so the vector of the mean equals the mean of the vectors of single tokens.
        StellaTokenOffset[] offsets = [.. tokens.Offsets.ToArray().Where(offset => !offset.IsEmpty)];
        float[] all = new float[256];
        model.EmbedParts(Text, [Range.All], all, options);
        Assert.That(all, Is.Not.EqualTo(model.Embed(Text, options)), "special tokens and prompt belong to no part");
        Range[] each = [.. offsets.Select(offset => offset.Start..offset.End)];
        float[] rows = new float[each.Length * 256];
        StellaTokenCount count = model.EmbedParts(Text, each, rows, options);
        Assert.That(count.Kept, Is.EqualTo(tokens.Ids.Length));
        if (each.Distinct().Count() == each.Length)
        {
            float[] mean = [.. Enumerable.Range(0, 256).Select(i => Enumerable.Range(0, each.Length).Average(row => rows[(row * 256) + i]))];
            Assert.That(mean, Is.EqualTo(all).Within(1e-4f));
        }
    }

    [TestCase("tiny-new")]
    [TestCase("tiny-qwen2")]
    public void Token_offsets_cover_every_character_of_the_text(string name)
    {
        using var model = StellaModel.Load(Fixtures.Model(name));
        StellaTokenEmbeddings tokens = model.EmbedTokens(Text, new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery });
        bool[] covered = new bool[Text.Length];
        foreach (StellaTokenOffset offset in tokens.Offsets.Span)
        {
            covered.AsSpan(offset.Start..offset.End).Fill(true);
        }

        string missed = string.Concat(Text.Where((c, i) => !covered[i]));
        Assert.That(missed.Trim(), Is.Empty, "every character except spaces belongs to a token, and so do both surrogates of the wave");
        StellaTokenOffset river = tokens.Offsets.ToArray().First(offset => offset.Start <= 4 && offset.End > 4);
        Assert.That(Text[river.Start..river.End].Trim(), Does.StartWith("r"));
    }

    [Test]
    public void The_vector_of_a_part_depends_on_the_rest_of_the_text()
    {
        using var model = StellaModel.Load(Fixtures.Model("tiny-new"));
        string[] texts = ["bank of the river", "bank of the stone"];
        float[][] bank = [new float[256], new float[256], new float[256]];
        var options = new StellaEmbedOptions { Dimension = 256 };
        model.EmbedParts(texts[0], [0..4], bank[0], options);
        model.EmbedParts(texts[1], [0..4], bank[1], options);
        model.EmbedParts(texts[0], [0..4, 8..11], new float[512], options);
        model.EmbedParts(texts[0], [0..4], bank[2], options);
        Assert.That(bank[0], Is.Not.EqualTo(bank[1]));
        Assert.That(bank[2], Is.EqualTo(bank[0]));
        Assert.That(Vectors.Norm(bank[0]), Is.EqualTo(1).Within(1e-6));
    }

    [Test]
    public void A_part_without_tokens_is_refused_with_its_index()
    {
        using var model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { MaxTokens = 6 });
        float[] rows = new float[3 * 1024];
        var blank = Assert.Throws<StellaInputException>(() => model.EmbedParts("a   b", [0..1, 2..3], rows));
        Assert.That((blank!.TextIndex, blank.Code), Is.EqualTo((1, StellaErrorCode.InvalidArgument)));
        foreach (Range empty in (Range[])[0..0, 1..1, 3..3, ^0..])
        {
            var none = Assert.Throws<StellaInputException>(() => model.EmbedParts("unbe", [0..1, empty], rows));
            Assert.That((none!.TextIndex, none.Code), Is.EqualTo((1, StellaErrorCode.InvalidArgument)));
            Assert.That(none.Message, Does.Contain("has no characters"));
        }

        var cut = Assert.Throws<StellaInputException>(() => model.EmbedParts("a b c d e f g", [0..1, 0..3, 10..11], rows));
        Assert.That((cut!.TextIndex, cut.Code), Is.EqualTo((2, StellaErrorCode.TextTooLong)));
        Assert.That(cut.Message, Does.Contain("cut at character 7"));
        Assert.That(() => model.EmbedParts("abc", [0..4], rows), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => model.EmbedParts("abc", [0..1, 0..1], new float[1025]), Throws.ArgumentException);
    }

    [Test]
    public void EmbedTokens_observes_cancellation_and_disposal()
    {
        var model = StellaModel.Load(Fixtures.Model("tiny-new"));
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.That(() => model.EmbedTokens("a", null, cancelled.Token), Throws.InstanceOf<OperationCanceledException>());
        model.Dispose();
        Assert.That(() => model.EmbedTokens("a"), Throws.TypeOf<ObjectDisposedException>());
    }
}
