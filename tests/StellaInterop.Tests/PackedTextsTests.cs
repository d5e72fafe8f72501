using System.Text;
using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>A long text is encoded to UTF-8 only as far as the tokenizer reads it, and has the tokens of the whole text.</summary>
internal sealed class PackedTextsTests
{
    /// <summary>The longest character in UTF-8 bytes. It may begin before the limit and end after it.</summary>
    private const int MaxCharacterBytes = 4;

    private static readonly string[] Parts = ["a", "é", "漢", "😀", "\ud800", "\udc00", "\0", "\uffff"];

    private static readonly Encoding Replacing = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Tests every limit on every text of up to four parts, which include characters of each UTF-8 length and lone surrogates.</summary>
    [Test]
    public void Packed_bytes_are_the_whole_text_or_a_prefix_that_just_exceeds_the_limit([Values] StellaInvalidTextBehavior onInvalidText)
    {
        var pack = new PackedTexts();
        int cut = 0, whole = 0, refused = 0;
        foreach (string text in Combinations())
        {
            byte[] expected = Replacing.GetBytes(text);
            int lone = LoneSurrogates(text).Length;
            for (int limit = 1; limit <= expected.Length + 1; limit++)
            {
                if (lone > 0 && onInvalidText == StellaInvalidTextBehavior.Error)
                {
                    var error = Assert.Throws<StellaInputException>(() => pack.Fill([text], 7, onInvalidText, new PrefixCondenser(limit)))!;
                    Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotUnicode, 7)));
                    Assert.That(error.Message, Does.Contain($"at index {LoneSurrogates(text)[0]} has no partner"));
                    refused++;
                    continue;
                }

                pack.Fill([text], 7, onInvalidText, new PrefixCondenser(limit));
                ReadOnlySpan<byte> packed = pack.Utf8;
                Assert.That(expected.AsSpan().StartsWith(packed), "the packed bytes must be a prefix of the text");
                Assert.That(packed.Length, Is.EqualTo(expected.Length).Or.InRange(limit + 1, limit + MaxCharacterBytes));
                Assert.That(packed.Length == expected.Length || (expected[packed.Length] & 0xC0) != 0x80, "no character may be split");
                Assert.That(pack.Replaced[0], Is.EqualTo(lone));
                bool isCut = expected.Length > limit;
                string? message = pack.TooLongError(7)?.Message;
                Assert.That(message, isCut ? Does.Contain($"{expected.Length} bytes").And.Contain($"limit is {limit}") : Is.Null);
                _ = isCut ? cut++ : whole++;
            }
        }

        Assert.That(onInvalidText == StellaInvalidTextBehavior.Error ? refused : cut, Is.GreaterThan(1000));
        Assert.That((cut, whole), Is.Not.EqualTo((0, 0)));
    }

    /// <summary>Uses indices at which vectorized code could see half of a surrogate pair.</summary>
    [Test]
    public void A_lone_surrogate_far_beyond_the_limit_is_found([Values(0, 1, 15, 16, 31, 32, 63, 64, 1000)] int distance)
    {
        var pack = new PackedTexts();
        string pairs = string.Concat(Enumerable.Repeat("😀", 300));
        foreach (char half in "\ud800\udbff\udc00\udfff")
        {
            string text = $"{pairs}{new string('a', distance)}{half}{pairs}";
            int at = pairs.Length + distance;
            var error = Assert.Throws<StellaInputException>(() => pack.Fill(["good", text], 0, StellaInvalidTextBehavior.Error, new PrefixCondenser(100)))!;
            Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotUnicode, 1)));
            Assert.That(error.Message, Does.Contain($"U+{(int)half:X4} at index {at} has no partner"));
            pack.Fill(["good", text + half], 0, StellaInvalidTextBehavior.Replace, new PrefixCondenser(100));
            Assert.That(pack.Replaced.ToArray(), Is.EqualTo(new[] { 0, 2 }));
        }
    }

    [Test]
    public void Packing_a_hundred_million_characters_allocates_less_than_a_megabyte([Values('a', '漢')] char character)
    {
        string text = new(character, 100_000_000);
        var pack = new PackedTexts();
        long before = GC.GetAllocatedBytesForCurrentThread();
        pack.Fill([text], 0, StellaInvalidTextBehavior.Error, new PrefixCondenser(512 * 256));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
        Assert.That(pack.Length, Is.InRange((512 * 256) + 1, (512 * 256) + MaxCharacterBytes));
        Assert.That(pack.TooLongError(0)!.Message, Does.Contain($"{100_000_000L * Encoding.UTF8.GetByteCount([character])} bytes"));
    }

    [Test]
    public void Trim_frees_the_memory_of_a_huge_text()
    {
        var pack = new PackedTexts();
        string[] texts = [new string('a', 4_000_000)];
        for (int i = 0; i < 2; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            pack.Fill(texts, 0, StellaInvalidTextBehavior.Error);
            pack.Trim();
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.GreaterThan(3 * 4_000_000), "the memory must be allocated again each time");
        }
    }

    [Test]
    public void The_first_text_that_is_too_long_is_reported()
    {
        // The first text has too many tokens, which native code finds. The second has too many bytes, which managed code finds.
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { MaxTokens = 8, Threads = 1 });
        string[] texts = ["river " + string.Concat(Enumerable.Repeat("river ", 20)), string.Concat(Enumerable.Repeat("a ", 1500))];
        var pack = new PackedTexts();
        var tokens = new TokenizedPack();
        var refuse = new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error };
        pack.Fill(texts, 5, StellaInvalidTextBehavior.Error, model.Tokenizer.Condenser);
        Assert.That(ErrorOf(() => tokens.Fill(model.Handle, pack, refuse, model.Info)), Is.EqualTo((StellaErrorCode.TextTooLong, 5)));
        pack.Fill(["river", texts[1]], 5, StellaInvalidTextBehavior.Error, model.Tokenizer.Condenser);
        StellaInputException error = Assert.Throws<StellaInputException>(() => tokens.Fill(model.Handle, pack, refuse, model.Info))!;
        Assert.That(error.TextIndex, Is.EqualTo(6));
        Assert.That(error.Message, Does.Contain("3000 bytes").And.Contain("2048").And.Not.Contain("205"));

        // The same with token offsets.
        error = Assert.Throws<StellaInputException>(() => TokensWithOffsets.Of(model.Handle, model.Tokenizer.Condenser, texts[1], refuse with { FirstTextIndex = 9 }))!;
        Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextTooLong, 9)));
        Assert.That(error.Message, Does.Contain("3000 bytes"));
    }

    [Test]
    public void Tokens_of_a_condensed_text_equal_those_of_the_whole_text(
        [Prompts] StellaPrompt prompt, [Values("tiny-new", "tiny-qwen2")] string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { MaxTokens = 16, Threads = 1 });
        var options = new StellaEmbedOptions { Prompt = prompt };
        foreach (string part in (string[])["river ", "漢", "😀", "\n", "\u3000 ", "\u200b", "ka", "ก\u0e31"])
        {
            for (int padding = 0; padding < 4; padding++)
            {
                string text = new string('a', padding) + string.Concat(Enumerable.Repeat(part, 5000));
                Assert.That(Tokens(text, model.Tokenizer.Condenser), Is.EqualTo(Tokens(text, null)));
            }
        }

        (int[], StellaTokenCount) Tokens(string text, ITextCondenser? condenser)
        {
            var pack = new PackedTexts();
            pack.Fill([text], 0, StellaInvalidTextBehavior.Error, condenser);
            var tokens = new TokenizedPack();
            tokens.Fill(model.Handle, pack, options, model.Info);
            return (tokens.IdsOf(0).ToArray(), tokens.CountOf(0));
        }
    }

    /// <summary>Tokens after long runs of blanks and dropped characters, and after long words, keep their ids and offsets.</summary>
    [Test]
    public void Long_gaps_and_unknown_words_do_not_hide_the_tokens_that_follow(
        [Values(" ", "\n\t", "\u3000", "\u200b ", "\0", "\u0301\u200b", "😀")] string gap, [Values] bool hasLoneSurrogate)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { MaxTokens = 16, Threads = 1 });
        bool isWord = gap == "😀";
        string filler = isWord ? $" {new string('x', 20_000)} " : string.Concat(Enumerable.Repeat(gap, 20_000)) + " ";
        string lone = hasLoneSurrogate ? "\udc00" : "";
        string text = $"a{filler}{lone}river {filler}stone{filler}";
        string word = $" {new string('x', 101)} ";
        string plain = isWord ? $"a{word}river {word}stone{word}" : "a river stone";
        var options = new StellaEmbedOptions { Prompt = StellaPrompt.Document, InvalidTextBehavior = StellaInvalidTextBehavior.Replace };
        StellaTokens expected = model.Tokenize(plain, options);
        StellaTokens found = model.Tokenize(text, options);
        Assert.That(found.Ids.ToArray(), Is.EqualTo(expected.Ids.ToArray()));
        Assert.That((found.TokenCount.Truncation, found.TokenCount.Total), Is.EqualTo((StellaTruncation.None, expected.TokenCount.Total)));
        Assert.That(found.TokenCount.Replaced, Is.EqualTo(lone.Length));

        StellaTokenEmbeddings embedded = model.EmbedTokens(text, options);
        StellaTokenEmbeddings alone = model.EmbedTokens(plain, options);
        Assert.That(embedded.HiddenStates.ToArray(), Is.EqualTo(alone.HiddenStates.ToArray()));
        string[] Words(StellaTokenEmbeddings of, string from) => [.. of.Offsets.ToArray().Where(offset => !offset.IsEmpty).Select(offset =>
            from[offset.Start..offset.End].TrimEnd('x', '\u200b', '\0', '\u0301'))];
        Assert.That(Words(embedded, text), Is.EqualTo(Words(alone, plain)));
        Assert.That(() => model.Embed([text], new float[1024], options with { LongTextBehavior = StellaLongTextBehavior.Error }), Throws.Nothing);
    }

    [Test]
    public void Tokenizing_a_hundred_million_blanks_allocates_less_than_a_megabyte()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        string text = new string(' ', 100_000_000) + "river";
        _ = model.Tokenize("river");
        long before = GC.GetAllocatedBytesForCurrentThread();
        StellaTokens tokens = model.Tokenize(text);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
        Assert.That(tokens.Ids.ToArray(), Is.EqualTo(model.Tokenize("river").Ids.ToArray()));
    }

    /// <summary>A condenser that drops no character and is done beyond a limit of bytes.</summary>
    private sealed class PrefixCondenser(int limit) : ITextCondenser
    {
        public long MaxBytes => limit;

        public int Condense(Span<byte> utf8, Span<uint> units, out bool isEnough)
        {
            isEnough = utf8.Length > limit;
            int end = Math.Min(utf8.Length, limit + 1);
            while (end < utf8.Length && (utf8[end] & 0xC0) == 0x80)
            {
                end++;
            }

            return end;
        }
    }

    private static (StellaErrorCode Code, int Text) ErrorOf(Action action)
    {
        StellaInputException error = Assert.Throws<StellaInputException>(action)!;
        return (error.Code, error.TextIndex);
    }

    private static IEnumerable<string> Combinations() =>
        from a in Parts
        from b in Parts.Append("")
        from c in Parts.Append("")
        from d in Parts.Append("")
        select string.Concat(a, b, c, d);

    private static int[] LoneSurrogates(string text)
    {
        var indices = new List<int>();
        for (int i = 0; i < text.Length; i++)
        {
            if (i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(text[i]))
            {
                indices.Add(i);
            }
        }

        return [.. indices];
    }
}
