using System.Globalization;
using CsCheck;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests.Splitting;

/// <summary>Properties of passages for any text, limit, overlap and prompt, with both kinds of tokenizer.</summary>
[TestFixture("tiny-new")]
[TestFixture("tiny-qwen2")]
internal sealed class PassagePropertyTests(string name)
{
    private static readonly Gen<string> Piece = Gen.OneOf(
        Among("river ", "bank. ", "The stone, ", "ran? ", "end.\n\n", "(a note.) ", "line\n", "line\r\n", "para\r\n\r\n", "# Head\n", "## Two\n\n"),
        Among("世界", "漢字かな。", "「はい。」", "、", "สวัสดีชาวโลก", "हिन्दी। ", "안녕하세요 "),
        Among("👩‍👩‍👧‍👦", "🇨🇭", "👍🏽", "🌊", "e\u0301", "a\u0300\u0316\u0323", "क्षि", "\ufdfa", "\U0001d160", "\u0958", "世。\u0301", "世、\u0323", "世。\U0001136b"),
        Among(" ", "   ", "\t", "\n", "\r", "\u00a0", "\u3000", "\u2029", "\f", "\u200b", "\u0001", "\ufeff", "\u0000"),
        Gen.Char['a', 'z'].Array[1, 200].Select(letters => new string(letters)),
        Gen.Int[1, 700].Select(length => new string(' ', length)),
        Gen.Int[0x20, 0x2ffff].Where(code => code is < 0xd800 or > 0xdfff).Select(char.ConvertFromUtf32));

    private static readonly Gen<string> AnyText = Piece.Array[0, 120].Select(string.Concat);

    private StellaModel model = null!;

    [OneTimeSetUp]
    public void Load() => model = StellaModel.Load(Fixtures.Model(name));

    [OneTimeTearDown]
    public void Free() => model.Dispose();

    [Test]
    public void Passages_fit_the_limit_cover_the_text_in_order_and_respect_the_overlap() => Gen.Select(
        AnyText, Gen.Int[24, 120], Gen.Int[0, 100], Among(StellaPrompt.Document, StellaPrompt.SearchQuery)).Sample(
        (text, room, overlap, prompt) =>
        {
            var embed = new StellaEmbedOptions { Prompt = prompt };
            int overhead = model.Tokenize("", embed).TokenCount.Total;
            overlap = Math.Min(overlap, room - 1);
            var splitter = new StellaTextSplitter(
                model, new StellaTextSplitterOptions { MaxTokens = overhead + room, OverlapTokens = overlap, Prompt = prompt });
            StellaPassage[] passages = [.. splitter.Split(text)];
            bool[] covered = new bool[text.Length];
            (long start, long end) before = (-1, -1);
            foreach (StellaPassage passage in passages)
            {
                Assert.That(text[passage.ToRange()], Is.EqualTo(passage.Text));
                Assert.That(passage.Text.Trim(), Is.EqualTo(passage.Text).And.Not.Empty);
                StellaTokenCount count = model.Tokenize(passage.Text, embed).TokenCount;
                Assert.That((count.Total, count.IsTruncated), Is.EqualTo((passage.TokenCount, false)));
                Assert.That(passage.TokenCount, Is.LessThanOrEqualTo(overhead + room));
                Assert.That((passage.Start, passage.End), Is.GreaterThan((before.start, before.end)).Using<(long, long)>(
                    (a, b) => a.Item1 > b.Item1 && a.Item2 > b.Item2 ? 1 : -1));
                if (passage.Start < before.end)
                {
                    string shared = text[(int)passage.Start..(int)before.end];
                    Assert.That(model.Tokenize(shared, embed).TokenCount.Total - overhead, Is.LessThanOrEqualTo(overlap));
                }

                covered.AsSpan((int)passage.Start..(int)passage.End).Fill(true);
                before = (passage.Start, passage.End);
            }

            Assert.That(string.Concat(text.Where((_, i) => !covered[i])), Has.All.Matches<char>(char.IsWhiteSpace));
        }, iter: 100);

    [Test]
    public void A_character_is_split_only_if_it_exceeds_the_limit_by_itself() => Gen.Select(AnyText, Gen.Int[16, 60], Gen.Int[0, 15]).Sample(
        (text, room, overlap) =>
        {
            int overhead = model.Tokenize("").TokenCount.Total;
            var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = overhead + room, OverlapTokens = overlap });
            int[] begins = StringInfo.ParseCombiningCharacters(text);
            foreach (long cut in splitter.Split(text).SelectMany(passage => new[] { passage.Start, passage.End }))
            {
                int at = Array.BinarySearch(begins, (int)cut);
                if (at < 0 && cut < text.Length)
                {
                    // CR LF is one grapheme cluster in Unicode. Here it is white space, which may be split.
                    string character = text[begins[~at - 1]..(~at < begins.Length ? begins[~at] : text.Length)];
                    Assert.That(
                        character.Any(char.IsWhiteSpace) || model.Tokenize(character).TokenCount.Total > overhead + room,
                        $"'{character}' is split at {cut}");
                }
            }
        }, iter: 100);

    /// <summary>A text without spaces is split inside words. A passage then has other tokens than its characters have in the whole text.</summary>
    [Test]
    public void Passages_that_end_inside_words_fit_the_limit() =>
        Gen.Select(Among("river", "bank", "stone", "the", "ran").Select(Among("", "", "\u0301", "\u0323\u0301"), (word, mark) => word + mark).Array[200], Gen.Int[16, 24]).Sample(
            (words, room) =>
            {
                int limit = model.Tokenize("").TokenCount.Total + room;
                var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = limit });
                StellaPassage[] passages = [.. splitter.Split(string.Concat(words))];
                Assert.That(string.Concat(passages.Select(passage => passage.Text)), Is.EqualTo(string.Concat(words)));
                Assert.That(passages.Select(passage => model.Tokenize(passage.Text).TokenCount.Total), Has.All.LessThanOrEqualTo(limit));
            }, iter: 100);

    [Test]
    public void A_reader_and_a_string_are_split_into_the_same_passages() => Gen.Select(AnyText, Gen.Int[1, 700], Gen.Int[0, 10]).Sample(
        (text, block, overlap) =>
        {
            var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = 30, OverlapTokens = overlap });
            using var reader = new SlowReader(text, block);
            Assert.That(splitter.Split(reader), Is.EqualTo(splitter.Split(text)));
        }, iter: 100);

    private static Gen<T> Among<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    /// <summary>A reader that returns at most <paramref name="block"/> characters per read.</summary>
    private sealed class SlowReader(string text, int block) : TextReader
    {
        private int read;

        public override int Read(char[] buffer, int index, int count)
        {
            int length = Math.Min(Math.Min(count, block), text.Length - read);
            text.CopyTo(read, buffer, index, length);
            read += length;
            return length;
        }
    }
}
