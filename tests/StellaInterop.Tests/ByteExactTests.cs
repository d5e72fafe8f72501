using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>
/// A text reaches the tokenizer byte for byte. The tests use a byte-level vocabulary: its token ids decode to bytes that can be
/// compared with the text.
/// </summary>
internal sealed class ByteExactTests
{
    private const int Replacement = 0xfffd;

    private TemporaryFolder folder = null!;
    private StellaModel model = null!;
    private Dictionary<int, byte[]> bytesOfToken = null!;

    /// <summary>Loads the fixture without its NFC normalizer, which would change some of the texts.</summary>
    [OneTimeSetUp]
    public void Load()
    {
        folder = Fixtures.Copy("tiny-qwen2");
        string file = folder.File("tokenizer.json");
        JsonObject json = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
        json["normalizer"] = null;
        File.WriteAllText(file, json.ToJsonString());
        Dictionary<char, byte> alphabet = Alphabet();
        bytesOfToken = json["model"]!["vocab"]!.AsObject().ToDictionary(
            token => token.Value!.GetValue<int>(), token => token.Key.Select(c => alphabet[c]).ToArray());
        model = StellaModel.Load(folder.Path, new StellaModelOptions { MaxTokens = 8192 });
    }

    [OneTimeTearDown]
    public void Free()
    {
        model.Dispose();
        folder.Dispose();
    }

    [Test]
    public void Unicode_scalars_of_every_plane_reach_the_tokenizer_byte_for_byte()
    {
        // Every scalar of the first plane and every eleventh of the others. A step of eleven reaches every value of the last byte.
        static bool IsUsed(int n) => (n < 0x10000 || n % 11 == 0 || (n & 0xfffe) == 0xfffe) && Rune.IsValid(n);
        Rune[] scalars = [.. Enumerable.Range(0, 0x110000).Where(IsUsed).Select(n => new Rune(n))];
        Assert.That(scalars.Select(scalar => scalar.Plane).Distinct().Count(), Is.EqualTo(17));
        string[] texts = [.. scalars.Chunk(2000).Select(chunk => string.Concat(chunk))];
        Assert.That(AssertExactBytes(texts), Is.EqualTo(scalars.Sum(scalar => scalar.Utf8SequenceLength)));
    }

    [Test]
    public void Unusual_texts_reach_the_tokenizer_byte_for_byte()
    {
        string[] texts =
        [
            "", "\0", "\0\0\0", "before\0after", "\0at the ends\0", "\uFEFFa mark of order", "\uFFFE\uFFFF",
            "\r\n\r\n\u0085\u2028\u2029",
            "e\u0301 is not \u00e9", "\u1100\u1161 is not \uac00", string.Concat(Enumerable.Repeat("\u0301", 4000)),
            "\u202Eturned\u202C", "\u200B\u200C\u200D\u2060",
            "\U0001F468\u200D\U0001F469\u200D\U0001F467\u200D\U0001F466", "\U0001F1E9\U0001F1EA",
            "\ud83d\ude00 at the border of a pair", new string('a', 8000), new string('\n', 8000), "   spaces   ", "\t\t\t",
            "%s %n {0} \\u0000 &#0; <b>", "\u007f\u0080\u009f\u00a0\u00ad", "\U0010FFFF",
        ];
        Assert.That(AssertExactBytes(texts), Is.EqualTo(texts.Sum(Encoding.UTF8.GetByteCount)));
    }

    [Test]
    public void A_truncated_text_keeps_its_beginning()
    {
        string text = string.Concat(Enumerable.Range(0, 20_000).Select(i => char.ConvertFromUtf32(0x10000 + (i * 7))));
        StellaTokens tokens = model.Tokenize(text);
        byte[] kept = Decode(tokens);
        Assert.That(tokens.TokenCount.Truncation, Is.EqualTo(StellaTruncation.Tokens));
        Assert.That(kept, Has.Length.GreaterThan(8000));
        Assert.That(Encoding.UTF8.GetBytes(text).AsSpan().StartsWith(kept), Is.True);
    }

    [Test]
    public void Texts_of_ten_megabytes_are_truncated_or_refused()
    {
        string word = new('w', 10_000_000);
        // The factor has no common divisor with the number of scalars, so consecutive characters come from different planes.
        string planes = string.Concat(
            Enumerable.Range(0, 2_700_000).Select(i => char.ConvertFromUtf32(0x10000 + (int)(i * 104_729L % 0x100000))));
        Assert.That(Encoding.UTF8.GetByteCount(planes), Is.GreaterThan(10_000_000));
        using StellaModel bytes = StellaModel.Load(folder.Path);
        foreach (string text in new[] { word, planes })
        {
            StellaTokens tokens = bytes.Tokenize(text);
            Assert.That((tokens.TokenCount.Kept, tokens.TokenCount.Truncation), Is.EqualTo((512, StellaTruncation.Bytes)));
            Assert.That(Encoding.UTF8.GetBytes(text).AsSpan().StartsWith(Decode(tokens)), Is.True);
            var refused = Assert.Throws<StellaInputException>(
                () => bytes.Tokenize(text, new StellaEmbedOptions { LongTextBehavior = StellaLongTextBehavior.Error }));
            Assert.That((refused!.Code, refused.TextIndex), Is.EqualTo((StellaErrorCode.TextTooLong, 0)));
        }

        using StellaModel words = StellaModel.Load(Fixtures.Model("tiny-new"));
        float[] rows = new float[3 * 256];
        words.Embed([word, planes, "river"], rows, new StellaEmbedOptions { Dimension = 256 });
        Assert.That(Enumerable.Range(0, 3).Select(i => Vectors.Norm(rows.AsSpan(256 * i, 256))), Has.All.EqualTo(1).Within(1e-5));
    }

    [Test]
    public void A_lone_surrogate_at_any_index_is_refused_or_replaced()
    {
        // Indices at and around the block borders of a vectorized encoder, where it could see one half of a pair alone.
        foreach (int at in new[] { 0, 1, 31, 32, 63, 64, 127, 128, 1023, 1024, 4095 })
        {
            foreach (char half in new[] { (char)0xd800, (char)0xdbff, (char)0xdc00, (char)0xdfff })
            {
                string text = string.Concat(new string('a', at), half, "b");
                var error = Assert.Throws<StellaInputException>(() => model.Tokenize(["good", text]));
                Assert.That((error!.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.TextNotUnicode, 1)));
                Assert.That(error.Message, Does.Contain($"at index {at}"));
                StellaTokens replaced = model.Tokenize(text, new StellaEmbedOptions { InvalidTextBehavior = StellaInvalidTextBehavior.Replace });
                string expected = string.Concat(new string('a', at), (char)Replacement, "b");
                Assert.That(Decode(replaced), Is.EqualTo(Encoding.UTF8.GetBytes(expected)));
            }
        }
    }

    /// <summary>Tokenizes all texts in one call and compares the bytes of each text. Returns the total number of bytes.</summary>
    private int AssertExactBytes(string[] texts)
    {
        StellaTokens[] tokens = model.Tokenize(texts);
        int bytes = 0;
        for (int i = 0; i < texts.Length; i++)
        {
            byte[] arrived = Decode(tokens[i]);
            Assert.That(tokens[i].TokenCount.IsTruncated, Is.False);
            bool same = arrived.AsSpan().SequenceEqual(Encoding.UTF8.GetBytes(texts[i]));
            Assert.That(same, Is.True, $"text {i}: {JsonSerializer.Serialize(texts[i])}");
            bytes += arrived.Length;
        }

        return bytes;
    }

    /// <summary>Decodes the tokens to bytes, without the special token at the end.</summary>
    private byte[] Decode(StellaTokens tokens) => [.. tokens.Ids.ToArray()[..^1].SelectMany(id => bytesOfToken[id])];

    /// <summary>
    /// Returns the characters for bytes in a byte-level vocabulary: printable Latin-1 bytes stand for themselves, the others map to
    /// U+0100 and up, in order.
    /// </summary>
    private static Dictionary<char, byte> Alphabet()
    {
        var alphabet = new Dictionary<char, byte>();
        int next = 0x100;
        for (int b = 0; b < 256; b++)
        {
            bool prints = b is (>= 0x21 and <= 0x7e) or (>= 0xa1 and <= 0xac) or (>= 0xae and <= 0xff);
            alphabet[prints ? (char)b : (char)next++] = (byte)b;
        }

        return alphabet;
    }
}
