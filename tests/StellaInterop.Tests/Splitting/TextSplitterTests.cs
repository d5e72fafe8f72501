using System.Text;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Splitting;

/// <summary>The boundaries of passages, refused arguments, and how far a long text is read ahead.</summary>
internal sealed class TextSplitterTests
{
    private static readonly string Prose = string.Join(' ', Enumerable.Range(1, 60).Select(i => $"The river {i} ran by the bank."));

    private StellaModel model = null!;

    [OneTimeSetUp]
    public void Load() => model = StellaModel.Load(Fixtures.Model("tiny-new"));

    [OneTimeTearDown]
    public void Free() => model.Dispose();

    [TestCase("")]
    [TestCase(" \r\n\t\u3000\u2029 ")]
    public void A_blank_text_has_no_passages(string text) => Assert.That(Split(text, 40), Is.Empty);

    [Test]
    public void A_text_that_fits_is_one_passage()
    {
        StellaPassage passage = Split("\n  The river ran.\n\nThe bank.  \n", 40).Single();
        Assert.That((passage.Text, passage.Start, passage.End), Is.EqualTo(("The river ran.\n\nThe bank.", 3L, 28L)));
        Assert.That(passage.TokenCount, Is.EqualTo(model.Tokenize(passage.Text).TokenCount.Total));
    }

    [Test]
    public void The_default_limit_of_a_passage_is_the_token_limit_of_the_model()
    {
        var splitter = new StellaTextSplitter(model);
        Assert.That(splitter.MaxTokens, Is.EqualTo(model.Info.MaxTokens));
        Assert.That(splitter.Split(Prose).First().TokenCount, Is.InRange(model.Info.MaxTokens * 3 / 4, model.Info.MaxTokens));
    }

    [Test]
    public void The_tokens_of_the_prompt_count_towards_the_limit()
    {
        var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = 150, Prompt = StellaPrompt.SearchQuery });
        StellaPassage passage = splitter.Split(Prose).First();
        Assert.That(passage.TokenCount, Is.LessThanOrEqualTo(150));
        Assert.That(passage.TokenCount, Is.EqualTo(model.Tokenize(passage.Text, new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery }).TokenCount.Total));
        Assert.That(passage.TokenCount, Is.GreaterThan(model.Tokenize(passage.Text).TokenCount.Total));
    }

    [Test]
    public void Sentences_are_not_split() =>
        Assert.That(Split(Prose, 60).Select(passage => passage.Text), Has.All.StartsWith("The river").And.All.EndWith("bank.").And.Some.Contains(". The"));

    [TestCase("「川が流れる。」")]
    [TestCase("川が流れる！")]
    [TestCase("नदी बहती है। ")]
    [TestCase("(The river ran.) ")]
    [TestCase("\"Did the river run?\" ")]
    public void Sentences_in_other_scripts_brackets_and_quotes_are_not_split(string sentence)
    {
        IEnumerable<StellaPassage> passages = Enumerable.Range(40, 20).SelectMany(limit => Split(string.Concat(Enumerable.Repeat(sentence, 30)), limit));
        Assert.That(passages.Select(passage => passage.Text), Has.All.StartsWith(sentence.Trim()).And.All.EndsWith(sentence.Trim()));
    }

    [Test]
    public void A_full_stop_before_a_lowercase_letter_does_not_end_a_sentence() => Assert.That(
        Enumerable.Range(30, 30).SelectMany(limit => Split(string.Join(' ', Enumerable.Repeat("River e.g. the bank ran.", 20)), limit)).Select(passage => passage.Text),
        Has.All.StartsWith("River").And.All.EndWith("ran."));

    [Test]
    public void A_half_full_passage_ends_at_a_paragraph_instead_of_a_later_sentence()
    {
        string paragraph = string.Join(' ', Enumerable.Repeat("The river ran.", 8));
        int tokens = model.Tokenize(paragraph).TokenCount.Total;
        Assert.That(Split($"{paragraph}\n\n{paragraph}", tokens * 3 / 2).Select(passage => passage.Text), Is.EqualTo(new[] { paragraph, paragraph }));
        StellaPassage first = Split($"The bank.\n \nX{paragraph}{paragraph}", tokens * 3 / 2)[0];
        Assert.That(first.Text, Does.StartWith("The bank.\n \nX").And.EndWith("ran."), "a passage that is less than half full continues into the next paragraph");
    }

    [TestCase("\n")]
    [TestCase("\r\n")]
    public void Lines_without_sentences_are_not_split(string ending)
    {
        StellaPassage[] passages = Split(string.Join(ending, Enumerable.Range(0, 100).Select(i => $"{i} river bank stone")), 60);
        Assert.That(passages, Has.Length.GreaterThan(5));
        Assert.That(passages.Select(passage => passage.Text), Has.All.Match(@"^\d+ river").And.All.Match(" stone$"));
    }

    [Test]
    public void A_heading_begins_a_passage()
    {
        string text = string.Concat(Enumerable.Range(0, 20).Select(i => $"## Part {i}\n\n{string.Concat(Enumerable.Repeat("The river ran.\n\n", 3 + (i % 4)))}"));
        StellaPassage[] passages = Split(text, 64);
        Assert.That(passages, Has.Length.GreaterThan(5));
        Assert.That(passages.Select(passage => passage.Text), Has.All.StartsWith("## Part").And.All.EndWith("ran."));
    }

    [Test]
    public void A_word_is_split_only_if_it_exceeds_the_limit()
    {
        using StellaModel bytes = StellaModel.Load(Fixtures.Model("tiny-qwen2"));
        string text = $"The river {new string('x', 3000)} ran by the bank";
        StellaPassage[] passages = [.. new StellaTextSplitter(bytes, new StellaTextSplitterOptions { MaxTokens = 64 }).Split(text)];
        Assert.That(passages, Has.Length.GreaterThan(5));
        Assert.That(passages.Select(passage => passage.Text), Has.All.Match("^(The river |x)").And.All.Match("(x|bank)$"));
    }

    /// <summary>A word of more than a hundred letters is one unknown token. A part of it has one token for each letter.</summary>
    [Test]
    public void A_passage_with_more_tokens_alone_than_within_the_text_is_shortened()
    {
        string word = string.Join('\u200b', Enumerable.Repeat("xqzjvxqzjvxqzjv", 7));
        StellaPassage[] passages = Split(string.Concat(Enumerable.Repeat($"the bank {word}{new string('(', 30)} ", 20)), 24);
        Assert.That(passages.Select(passage => model.Tokenize(passage.Text).TokenCount.Total), Has.All.LessThanOrEqualTo(24));
        Assert.That(passages.Average(passage => passage.Text.Length), Is.GreaterThan(10));
    }

    [Test]
    public void The_number_of_characters_of_a_passage_is_bounded()
    {
        // A word of more than a hundred letters is one unknown token, and blanks produce no tokens.
        string text = $"river{new string(' ', 100_000)}{new string('x', 100_000)}{new string('\u0001', 100_000)}bank";
        StellaPassage[] passages = Split(text, 40);
        Assert.That(passages.Select(passage => passage.Text.Length), Has.All.LessThanOrEqualTo(40 * 64 + 256));
        Assert.That(passages.Sum(passage => passage.Text.Length), Is.EqualTo(text.Length - 100_000));
    }

    [Test]
    public void An_overlap_begins_at_a_sentence_or_else_a_word_or_else_a_character()
    {
        StellaPassage[] passages = Split(Prose, 60, overlap: 20);
        Assert.That(passages.Zip(passages.Skip(1), (a, b) => a.End - b.Start), Has.All.GreaterThan(20));
        Assert.That(passages.Select(passage => passage.Text), Has.All.StartsWith("The river"));
        string words = string.Join(' ', Enumerable.Range(0, 200).Select(_ => "riverbank"));
        passages = Split(words, 60, overlap: 20);
        Assert.That(passages.Zip(passages.Skip(1), (a, b) => a.End - b.Start), Has.All.GreaterThan(15));
        Assert.That(passages.Select(passage => passage.Text), Has.All.StartsWith("riverbank").And.All.EndWith("riverbank"));
        passages = Split(new string('世', 500), 60, overlap: 20);
        Assert.That(passages.Zip(passages.Skip(1), (a, b) => a.End - b.Start), Has.All.EqualTo(20));
    }

    [Test]
    public void An_overlap_never_covers_a_whole_passage()
    {
        // The first paragraph is shorter than the overlap.
        string text = $"The bank. {new string('世', 300)}";
        StellaPassage[] passages = Split(text, 40, overlap: 30);
        Assert.That(passages.Zip(passages.Skip(1), (a, b) => b.Start - a.Start), Has.All.Positive);
        Assert.That(passages.Zip(passages.Skip(1), (a, b) => b.End - a.End), Has.All.Positive);
    }

    [Test]
    public void Passage_ranges_can_be_embedded_as_parts()
    {
        StellaPassage[] passages = Split(Prose[..1200], 60);
        float[] rows = new float[passages.Length * model.Info.DefaultDimension];
        model.EmbedParts(Prose[..1200], [.. passages.Select(passage => passage.ToRange())], rows);
        Assert.That(Vectors.Norm(rows.AsSpan(^model.Info.DefaultDimension..)), Is.EqualTo(1).Within(1e-6));
        Assert.That(() => new StellaPassage { Text = "x", Start = int.MaxValue, TokenCount = 3 }.ToRange(), Throws.TypeOf<OverflowException>());
    }

    [TestCase(17, 0, "Set MaxTokens to at least 18.")]
    [TestCase(513, 0, "whose limit is 512")]
    [TestCase(40, 38, "Set OverlapTokens below 38.")]
    public void A_limit_out_of_range_is_refused_with_advice(int maxTokens, int overlap, string advice)
    {
        var error = Assert.Throws<StellaOptionException>(() => Split("", maxTokens, overlap))!;
        Assert.That((error.Code, error.Message), Is.EqualTo((StellaErrorCode.InvalidArgument, error.Message)));
        Assert.That(error.Message, Does.Contain(advice));
    }

    [Test]
    public void A_prompt_that_is_too_long_or_unknown_is_refused()
    {
        int prompt = model.Tokenize("", new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery }).TokenCount.Total;
        Assert.That(
            () => new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = prompt + 15, Prompt = StellaPrompt.SearchQuery }),
            Throws.TypeOf<StellaOptionException>().With.Message.Contains($"take {prompt}"));
        Assert.That(
            () => new StellaTextSplitter(model, new StellaTextSplitterOptions { Prompt = StellaPrompt.FromName("nobody") }),
            Throws.TypeOf<StellaOptionException>().With.Property("Code").EqualTo(StellaErrorCode.UnknownPrompt));
    }

    [Test]
    public void Null_and_out_of_range_arguments_are_refused() => Assert.Multiple(() =>
    {
        Assert.That(() => new StellaTextSplitter(null!), Throws.ArgumentNullException);
        Assert.That(() => Split("", 0), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => Split("", 40, -1), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => new StellaTextSplitter(model).Split((string)null!), Throws.ArgumentNullException);
        Assert.That(() => new StellaTextSplitter(model).Split((TextReader)null!), Throws.ArgumentNullException);
    });

    [Test]
    public void A_lone_surrogate_is_refused_with_its_index_or_kept()
    {
        string text = $"{Prose}🌊 \ud83d {Prose}\udf0a";
        var error = Assert.Throws<StellaInputException>(() => Split(text, 60))!;
        Assert.That(error.Code, Is.EqualTo(StellaErrorCode.TextNotUnicode));
        Assert.That(error.Message, Does.Contain($"U+D83D at {Prose.Length + 3} "));
        var replace = new StellaTextSplitterOptions { MaxTokens = 60, InvalidTextBehavior = StellaInvalidTextBehavior.Replace };
        StellaPassage[] passages = [.. new StellaTextSplitter(model, replace).Split(text)];
        Assert.That(passages[^1].Text, Does.EndWith("\udf0a"));
        Assert.That(() => Split($"{Prose}\ud83d", 60), Throws.TypeOf<StellaInputException>().With.Message.Contains($"at {Prose.Length} "));
    }

    [Test]
    public void An_endless_reader_is_read_only_as_far_as_passages_are_requested()
    {
        using var reader = new EndlessReader();
        var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = 40, OverlapTokens = 10 });
        long bytes = 0;
        foreach (StellaPassage passage in splitter.Split(reader).Take(2000))
        {
            Assert.That(reader.Characters - passage.End, Is.LessThan((40 * 64) + 1024));
            bytes += Encoding.UTF8.GetByteCount(passage.Text);
        }

        Assert.That(bytes, Is.GreaterThan(100_000));
    }

    [Test]
    public void Cancellation_and_disposal_end_the_enumeration()
    {
        StellaModel own = StellaModel.Load(Fixtures.Model("tiny-new"));
        var splitter = new StellaTextSplitter(own, new StellaTextSplitterOptions { MaxTokens = 60 });
        using var cancel = new CancellationTokenSource();
        using IEnumerator<StellaPassage> cancelled = splitter.Split(Prose, cancel.Token).GetEnumerator();
        using IEnumerator<StellaPassage> disposed = splitter.Split(Prose).GetEnumerator();
        Assert.That((cancelled.MoveNext(), disposed.MoveNext()), Is.EqualTo((true, true)));
        cancel.Cancel();
        own.Dispose();
        Assert.That(() => cancelled.MoveNext(), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => disposed.MoveNext(), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => new StellaTextSplitter(own), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void Threads_can_share_a_splitter_and_a_result_can_be_enumerated_again()
    {
        var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = 60, OverlapTokens = 10 });
        IEnumerable<StellaPassage> passages = splitter.Split(Prose);
        StellaPassage[] expected = [.. passages];
        var results = new StellaPassage[8][];
        Parallel.For(0, results.Length, i => results[i] = [.. passages]);
        Assert.That(results, Has.All.EqualTo(expected));
    }

    private StellaPassage[] Split(string text, int maxTokens, int overlap = 0) =>
        [.. new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = maxTokens, OverlapTokens = overlap }).Split(text)];

    /// <summary>A reader that repeats the same words forever, in one paragraph.</summary>
    private sealed class EndlessReader : TextReader
    {
        private const string Words = "the river ran by the stone bank and on ";

        public long Characters { get; private set; }

        public override int Read(char[] buffer, int index, int count)
        {
            for (int i = 0; i < count; i++)
            {
                buffer[index + i] = Words[(int)((Characters + i) % Words.Length)];
            }

            Characters += count;
            return count;
        }
    }
}
