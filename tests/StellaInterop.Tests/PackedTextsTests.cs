using System.Text;
using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>A long text is encoded as far as it is looked at, and means the same as if it were encoded whole.</summary>
internal sealed class PackedTextsTests
{
    /// <summary>The longest character, which may lie across the limit.</summary>
    private const int Beyond = 4;

    private static readonly string[] Parts = ["a", "é", "漢", "😀", "\ud800", "\udc00", "\0", "\uffff"];

    private static readonly Encoding Replacing = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Every text of up to four characters of each length, lone surrogates among them, against every limit.</summary>
    [Test]
    public void Packed_bytes_are_the_beginning_and_exceed_the_limit([Values] StellaInvalidTextBehavior onInvalidText)
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
                    var error = Assert.Throws<StellaInputException>(() => pack.Fill([text], 7, onInvalidText, new Prefix(limit)))!;
                    Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotUnicode, 7)));
                    Assert.That(error.Message, Does.Contain($"at index {LoneSurrogates(text)[0]} has no partner"));
                    refused++;
                    continue;
                }

                pack.Fill([text], 7, onInvalidText, new Prefix(limit));
                ReadOnlySpan<byte> packed = pack.Utf8;
                Assert.That(expected.AsSpan().StartsWith(packed), "the packed bytes are the beginning of the text");
                Assert.That(packed.Length, Is.EqualTo(expected.Length).Or.InRange(limit + 1, limit + Beyond));
                Assert.That(packed.Length == expected.Length || (expected[packed.Length] & 0xC0) != 0x80, "no character is cut");
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

    /// <summary>Places at which code that works in blocks could see half of a pair.</summary>
    [Test]
    public void A_lone_surrogate_far_behind_the_limit_is_found([Values(0, 1, 15, 16, 31, 32, 63, 64, 1000)] int behind)
    {
        var pack = new PackedTexts();
        string pairs = string.Concat(Enumerable.Repeat("😀", 300));
        foreach (char half in "\ud800\udbff\udc00\udfff")
        {
            string text = $"{pairs}{new string('a', behind)}{half}{pairs}";
            int at = pairs.Length + behind;
            var error = Assert.Throws<StellaInputException>(() => pack.Fill(["good", text], 0, StellaInvalidTextBehavior.Error, new Prefix(100)))!;
            Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotUnicode, 1)));
            Assert.That(error.Message, Does.Contain($"U+{(int)half:X4} at index {at} has no partner"));
            pack.Fill(["good", text + half], 0, StellaInvalidTextBehavior.Replace, new Prefix(100));
            Assert.That(pack.Replaced.ToArray(), Is.EqualTo(new[] { 0, 2 }));
        }
    }

    [Test]
    public void A_text_of_a_hundred_million_characters_takes_little_memory([Values('a', '漢')] char character)
    {
        string text = new(character, 100_000_000);
        var pack = new PackedTexts();
        long before = GC.GetAllocatedBytesForCurrentThread();
        pack.Fill([text], 0, StellaInvalidTextBehavior.Error, new Prefix(512 * 256));
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
        Assert.That(pack.Length, Is.InRange((512 * 256) + 1, (512 * 256) + Beyond));
        Assert.That(pack.TooLongError(0)!.Message, Does.Contain($"{100_000_000L * Encoding.UTF8.GetByteCount([character])} bytes"));
    }

    [Test]
    public void Memory_for_one_huge_text_does_not_stay()
    {
        var pack = new PackedTexts();
        string[] texts = [new string('a', 4_000_000)];
        for (int i = 0; i < 2; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            pack.Fill(texts, 0, StellaInvalidTextBehavior.Error);
            pack.Trim();
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.GreaterThan(3 * 4_000_000), "the memory is new each time");
        }
    }

    [Test]
    public void Errors_come_in_the_order_of_the_texts()
    {
        // The first is too long in tokens, which native code finds; the second in bytes. The first is named.
        using StellaModel model = StellaModel.Load(Tree.Model("tiny-new"), new StellaModelOptions { MaxTokens = 8, Threads = 1 });
        string[] texts = ["river " + string.Concat(Enumerable.Repeat("river ", 20)), string.Concat(Enumerable.Repeat("a ", 1500))];
        var pack = new PackedTexts();
        var tokens = new TokenizedPack();
        var refuse = new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error };
        pack.Fill(texts, 5, StellaInvalidTextBehavior.Error, model.Tokenizer.Condenser);
        Assert.That(TextOf(() => tokens.Fill(model.Handle, pack, refuse, model.Info)), Is.EqualTo((StellaErrorCode.TextTooLong, 5)));
        pack.Fill(["river", texts[1]], 5, StellaInvalidTextBehavior.Error, model.Tokenizer.Condenser);
        StellaInputException error = Assert.Throws<StellaInputException>(() => tokens.Fill(model.Handle, pack, refuse, model.Info))!;
        Assert.That(error.TextIndex, Is.EqualTo(6));
        Assert.That(error.Message, Does.Contain("3000 bytes").And.Contain("2048").And.Not.Contain("205"));

        // The same with places.
        error = Assert.Throws<StellaInputException>(() => TokensWithOffsets.Of(model.Handle, model.Tokenizer.Condenser, texts[1], refuse with { FirstTextIndex = 9 }))!;
        Assert.That((error.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextTooLong, 9)));
        Assert.That(error.Message, Does.Contain("3000 bytes"));
    }

    [Test]
    public void Tokens_of_a_cut_text_are_those_of_the_whole(
        [Prompts] StellaPrompt prompt, [Values("tiny-new", "tiny-qwen2")] string name)
    {
        using StellaModel model = StellaModel.Load(Tree.Model(name), new StellaModelOptions { MaxTokens = 16, Threads = 1 });
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

    /// <summary>Behind blanks, dropped characters and long words of any length, tokens are found in their places.</summary>
    [Test]
    public void What_leaves_no_token_does_not_hide_what_follows(
        [Values(" ", "\n\t", "\u3000", "\u200b ", "\0", "\u0301\u200b", "😀")] string gap, [Values] bool hasLoneSurrogate)
    {
        using StellaModel model = StellaModel.Load(Tree.Model("tiny-new"), new StellaModelOptions { MaxTokens = 16, Threads = 1 });
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
        string[] Words(StellaTokenEmbeddings of, string from) => [.. of.Offsets.ToArray().Where(place => !place.IsEmpty).Select(place =>
            from[place.Start..place.End].TrimEnd('x', '\u200b', '\0', '\u0301'))];
        Assert.That(Words(embedded, text), Is.EqualTo(Words(alone, plain)));
        Assert.That(() => model.Embed([text], new float[1024], options with { LongTextBehavior = StellaLongTextBehavior.Error }), Throws.Nothing);
    }

    [Test]
    public void A_hundred_million_blanks_take_little_memory()
    {
        using StellaModel model = StellaModel.Load(Tree.Model("tiny-new"), new StellaModelOptions { Threads = 1 });
        string text = new string(' ', 100_000_000) + "river";
        _ = model.Tokenize("river");
        long before = GC.GetAllocatedBytesForCurrentThread();
        StellaTokens tokens = model.Tokenize(text);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
        Assert.That(tokens.Ids.ToArray(), Is.EqualTo(model.Tokenize("river").Ids.ToArray()));
    }

    /// <summary>A tokenizer that looks at every character.</summary>
    private sealed class Prefix(int limit) : ITextCondenser
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

    private static (StellaErrorCode Code, int Text) TextOf(Action action)
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
        var places = new List<int>();
        for (int i = 0; i < text.Length; i++)
        {
            if (i + 1 < text.Length && char.IsSurrogatePair(text[i], text[i + 1]))
            {
                i++;
            }
            else if (char.IsSurrogate(text[i]))
            {
                places.Add(i);
            }
        }

        return [.. places];
    }
}
