using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Every text, valid or not, has a defined result or causes a typed error with its index.</summary>
internal sealed class InputTests
{
    private StellaModel model = null!;

    [OneTimeSetUp]
    public void Load() => model = StellaModel.Load(Fixtures.Model("tiny-new"));

    [OneTimeTearDown]
    public void Free() => model.Dispose();

    [Test]
    public void An_empty_list_of_texts_has_no_results()
    {
        float[] untouched = [7];
        model.Embed([], untouched);
        Assert.That(untouched, Is.EqualTo(new[] { 7f }));
        Assert.That(model.Tokenize([]), Is.Empty);
    }

    [Test]
    public void A_null_text_is_refused_with_its_index()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => model.Embed((string)null!), Throws.ArgumentNullException);
            Assert.That(() => model.Embed((IReadOnlyList<string>)null!), Throws.ArgumentNullException);
            Assert.That(() => model.Tokenize((string)null!), Throws.ArgumentNullException);
        });
        var error = Assert.Throws<StellaInputException>(() => model.Embed(["a", null!, "b"], new float[3 * 1024]));
        Assert.That(error!.TextIndex, Is.EqualTo(1));
        Assert.That(error.Message, Does.StartWith("Text 1 is null."));
    }

    [TestCase("")]
    [TestCase("   ")]
    [TestCase("\n\t")]
    public void A_blank_text_is_embedded_as_its_special_tokens(string text)
    {
        Assert.That(model.Tokenize(text).Ids.ToArray(), Has.Length.EqualTo(2));
        Assert.That(Vectors.Norm(model.Embed(text)), Is.EqualTo(1).Within(1e-6));
    }

    // The test builds the text, because a string in an attribute is stored as UTF-8, which cannot hold a lone surrogate.
    [TestCase("a", 0xd800, "b")]
    [TestCase("", 0xdc00, "")]
    [TestCase("ok ", 0xd83d, "")]
    public void A_lone_surrogate_is_refused_with_its_index(string before, int surrogate, string after)
    {
        string text = $"{before}{(char)surrogate}{after}";
        int at = before.Length;
        string[] texts = [.. Enumerable.Repeat("good", 300), text];
        var error = Assert.Throws<StellaInputException>(() => model.Embed(texts, new float[texts.Length * 1024]));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.TextNotUnicode));
        Assert.That(error.TextIndex, Is.EqualTo(300));
        Assert.That(error.Message, Does.Contain("Text 300").And.Contain($"at index {at}"));
        Assert.That(() => model.Tokenize(texts), Throws.TypeOf<StellaInputException>().With.Property("TextIndex").EqualTo(300));
    }

    [Test]
    public void A_lone_surrogate_is_replaced_and_counted_on_request()
    {
        string text = $"river{(char)0xdc00} \U0001F30A {(char)0xd83d}{(char)0xd83d}";
        var options = new StellaEmbedOptions { InvalidTextBehavior = StellaInvalidTextBehavior.Replace };
        var counts = new StellaTokenCount[2];
        float[] rows = new float[2 * 1024];
        model.Embed([text, "river"], rows, counts, options);
        Assert.That(counts.Select(count => count.Replaced), Is.EqualTo(new[] { 3, 0 }));
        Assert.That(rows[..1024], Is.EqualTo(model.Embed("river\uFFFD \U0001F30A \uFFFD\uFFFD")));
        Assert.That(model.EmbedTokens(text, options).TokenCount.Replaced, Is.EqualTo(3));
    }

    [Test]
    public void A_NUL_character_does_not_end_a_text()
    {
        // The tokenizer drops the character. The text after it must still be tokenized.
        Assert.That(model.Tokenize("river\0 stone").Ids.ToArray(), Is.EqualTo(model.Tokenize("river stone").Ids.ToArray()));
    }

    [Test]
    public void A_text_of_a_million_characters_is_reported_as_truncated()
    {
        string text = string.Concat(Enumerable.Repeat("word ", 200_000));
        var counts = new StellaTokenCount[1];
        model.Embed([text], new float[1024], counts);
        Assert.That(counts[0].Kept, Is.EqualTo(512));
        Assert.That(counts[0].Truncation, Is.EqualTo(StellaTruncation.Bytes), "at most 512 * 256 bytes of a text are tokenized");
        Assert.That(counts[0].Total, Is.InRange(512 * 256 / 5, 200_002));
        Assert.That(counts[0].IsTruncated, Is.True);
    }

    [TestCase(509, 511, StellaTruncation.None)]
    [TestCase(510, 512, StellaTruncation.None)]
    [TestCase(511, 512, StellaTruncation.Tokens)]
    public void Truncation_begins_at_the_first_token_beyond_the_limit(int words, int kept, StellaTruncation cut)
    {
        string text = string.Join(' ', Enumerable.Repeat("long", words));
        var counts = new StellaTokenCount[2];
        model.Embed([text, "a"], new float[2 * 1024], counts);
        Assert.That((counts[0].Kept, counts[0].Total, counts[0].Truncation), Is.EqualTo((kept, words + 2, cut)));
        Assert.That((counts[1].Truncation, counts[1].IsTruncated, counts[0].IsTruncated), Is.EqualTo((StellaTruncation.None, false, cut != StellaTruncation.None)));
        void Refuse() => model.Embed([text], new float[1024], new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error });
        Assert.That(Refuse, cut == StellaTruncation.None ? Throws.Nothing : Throws.TypeOf<StellaInputException>());
    }

    [Test]
    public void A_text_beyond_the_token_limit_is_refused_on_request()
    {
        string text = string.Concat(Enumerable.Repeat("word ", 600));
        string[] texts = [.. Enumerable.Repeat("good", 270), text];
        var options = new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error, FirstTextIndex = 1000 };
        var error = Assert.Throws<StellaInputException>(() => model.Embed(texts, new float[texts.Length * 1024], options));
        int total = model.Tokenize(text).TokenCount.Total;
        Assert.Multiple(() =>
        {
            Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.TextTooLong));
            Assert.That(error.TextIndex, Is.EqualTo(1270));
            Assert.That(error.Message, Does.Contain("Text 1270").And.Contain($"{total} tokens").And.Contain("512"));
        });
    }

    [TestCase(-1)]
    [TestCase(int.MaxValue)]
    public void A_FirstTextIndex_out_of_range_is_refused(int first)
    {
        var options = new StellaEmbedOptions { FirstTextIndex = first };
        Assert.Multiple(() =>
        {
            Assert.That(() => model.Embed("a", options), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => model.Tokenize("a", options), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [Test]
    public void Buffers_that_are_too_small_are_refused()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => model.Embed(["a", "b"], new float[2047]), Throws.ArgumentException.With.Message.Contains("2048"));
            Assert.That(
                () => model.Embed(["a", "b"], new float[2048], new StellaTokenCount[1]),
                Throws.ArgumentException.With.Message.Contains("2 texts"));
        });
    }

    [Test]
    public void A_buffer_is_not_written_beyond_its_vectors()
    {
        float[] vectors = new float[1024 + 3];
        vectors.AsSpan().Fill(float.NaN);
        model.Embed(["a"], vectors);
        Assert.That(vectors.AsSpan(0, 1024).ToArray(), Has.None.NaN);
        Assert.That(vectors.AsSpan(1024).ToArray(), Has.All.NaN);
    }

    [Test]
    public void Prompt_names_are_parsed_strictly_and_prompts_change_the_ids()
    {
        Assert.Multiple(() =>
        {
            Assert.That(StellaPrompt.FromName("s2p"), Is.EqualTo(StellaPrompt.SearchQuery));
            Assert.That(StellaPrompt.FromName("document"), Is.EqualTo(StellaPrompt.Document));
            Assert.That(StellaPrompt.FromName("s2s"), Is.EqualTo(StellaPrompt.SentenceSimilarity).And.Not.EqualTo(StellaPrompt.Default));
            Assert.That(default(StellaPrompt), Is.EqualTo(StellaPrompt.Default).And.Not.EqualTo(StellaPrompt.Document));
            Assert.That(new StellaEmbedOptions().Prompt, Is.EqualTo(StellaPrompt.Default));
            Assert.That(() => StellaPrompt.FromName(""), Throws.ArgumentException);
        });
        int Length(StellaPrompt prompt) => model.Tokenize("river", new StellaEmbedOptions { Prompt = prompt }).Ids.Length;
        Assert.That(
            new[] { StellaPrompt.Document, StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity }.Select(Length), Is.Unique);
        foreach ((string alias, string name) in new[] { ("s2p", "s2p_query"), ("S2P", "s2p_query"), ("s2s", "s2s_query") })
        {
            Assert.That(Length(StellaPrompt.FromName(alias)), Is.EqualTo(Length(StellaPrompt.FromName(name))));
        }

        Assert.That(Length(StellaPrompt.Default), Is.EqualTo(Length(StellaPrompt.FromName("Document"))));
        var unknown = Assert.Throws<StellaOptionException>(() => Length(StellaPrompt.FromName("query\n")))!;
        Assert.That(unknown.Code, Is.EqualTo(StellaErrorCode.UnknownPrompt));
        Assert.That(unknown.Message, Does.Contain("s2p_query, s2s_query").And.Not.Contain("\n"));
    }

    [Test]
    public void Cancellation_stops_a_call_before_it_starts_and_while_it_runs()
    {
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        var before = Assert.Throws<OperationCanceledException>(
            () => model.Embed(["a"], new float[1024], cancellationToken: cancelled.Token));
        Assert.That(before!.CancellationToken, Is.EqualTo(cancelled.Token));

        // The timer cancels long before this work is done.
        string[] texts = [.. Enumerable.Repeat(string.Concat(Enumerable.Repeat("word ", 500)), 20_000)];
        float[] vectors = new float[texts.Length * 256];
        using var running = new CancellationTokenSource();
        using var timer = new Timer(_ => running.Cancel(), null, 50, Timeout.Infinite);
        var during = Assert.Throws<OperationCanceledException>(
            () => model.Embed(texts, vectors, new StellaEmbedOptions { Dimension = 256 }, running.Token));
        Assert.That(during!.CancellationToken, Is.EqualTo(running.Token));

        // The next call uses the same session, and the earlier cancellation must not affect it.
        using var later = new CancellationTokenSource();
        Assert.That(model.Embed("a", null, later.Token), Is.EqualTo(model.Embed("a")));
        Assert.That(vectors[^256..], Has.All.EqualTo(0f), "the last text must not be computed");
        Assert.That(Vectors.Norm(model.Embed("a")), Is.EqualTo(1).Within(1e-6), "the model works after a cancellation");
    }
}
