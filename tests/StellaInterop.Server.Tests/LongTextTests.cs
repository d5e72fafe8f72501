using System.Net;
using System.Text.Json;
using StellaInterop.Server.Embedding;

namespace StellaInterop.Tests;

/// <summary>Texts that the model does not take as a whole: their rest and their tokens.</summary>
internal sealed class LongTextTests
{
    private const string Sentence = "The river runs by the mill; in spring it's high (very high!), and \"the wheel\" turns.\r\nDay & night: 1,234.5 x 3 = Ünïted 世界 😀👨‍👩‍👧 e\u0301\n\n\t";

    private static readonly string[] Models = ["tiny-new", "tiny-qwen2"];

    private static readonly string[] Texts =
    [
        string.Concat(Enumerable.Repeat(Sentence, 40)),
        string.Join(' ', Enumerable.Range(0, 1000).Select(i => $"{i * 7919 % 1000}word")),
        string.Join('\n', Enumerable.Range(0, 1000).Select(i => $"line{i}.")),
        $"{new string(' ', 600)}begin{new string(' ', 2000)}{string.Join(' ', Enumerable.Repeat("word", 900))}{new string('\n', 20)}",
        string.Join(' ', Enumerable.Range(0, 30).Select(i => new string((char)('a' + (i % 26)), 1 + (i * 10)))) + string.Join(' ', Enumerable.Repeat("word", 900)),
        string.Concat(Enumerable.Repeat("[SEP] a[MASK]b <|endoftext|> it's'", 100)),
        string.Join("...", Enumerable.Repeat("word", 1000)) + " end",
    ];

    private static readonly int[] TextIndices = [.. Enumerable.Range(0, Texts.Length)];

    /// <summary>The texts whose words are shorter than the limit.</summary>
    private static readonly int[] IndicesOfWords = [.. Enumerable.Range(0, Texts.Length - 1)];

    [Test]
    public async Task The_tokens_of_a_long_text_are_those_of_a_model_without_limit([ValueSource(nameof(Models))] string name, [ValueSource(nameof(TextIndices))] int index)
    {
        string text = Texts[index];
        using StellaModel unlimited = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { MaxTokens = 8192 });
        StellaTokens expected = unlimited.Tokenize(text);
        Assert.That(expected.TokenCount.IsTruncated, Is.False, "the test compares whole texts");
        Assert.That(expected.Ids.Length, Is.GreaterThan(600));

        await using RunningServer server = await StartAsync(name);
        ServerAnswer answer = await server.PostAsync("/tokenize", new { inputs = new[] { "a", text } });
        Assert.That(answer.Status, Is.EqualTo(HttpStatusCode.OK));
        JsonElement[] tokens = [.. answer.Json[1].EnumerateArray()];
        int[] ids = [.. tokens.Select(token => token.GetProperty("id").GetInt32())];
        int same = ids.AsSpan().CommonPrefixLength(expected.Ids.Span);
        Assert.That(same, Is.EqualTo(ids.Length).And.EqualTo(expected.Ids.Length), string.Concat(tokens[Math.Max(0, same - 10)..Math.Min(tokens.Length, same + 5)].Select(token => $"{token}")));
        string[] characters = [.. text.EnumerateRunes().Select(rune => rune.ToString())];
        foreach (JsonElement token in tokens.Where(token => !token.GetProperty("special").GetBoolean()))
        {
            Range range = token.GetProperty("start").GetInt32()..token.GetProperty("stop").GetInt32();
            Assert.That(string.Concat(characters[range]), Is.EqualTo(token.GetProperty("text").GetString()));
        }
    }

    [Test]
    public async Task A_word_beyond_the_limit_is_divided_and_no_character_is_lost([ValueSource(nameof(Models))] string name, [Values("世界", "a,b", "ab", "😀")] string repeated)
    {
        await using RunningServer server = await StartAsync(name);
        string text = string.Concat(Enumerable.Repeat(repeated, 2000));
        JsonElement[] tokens = [.. (await server.PostAsync("/tokenize", new { inputs = text, add_special_tokens = false })).Json[0].EnumerateArray()];
        int stop = 0;
        foreach (JsonElement token in tokens)
        {
            Assert.That(token.GetProperty("start").GetInt32(), Is.LessThanOrEqualTo(stop));
            stop = Math.Max(stop, token.GetProperty("stop").GetInt32());
        }

        Assert.That(stop, Is.EqualTo(text.EnumerateRunes().Count()));
    }

    [Test]
    public async Task The_rest_of_a_text_begins_at_the_first_word_with_which_it_fits([ValueSource(nameof(Models))] string name, [ValueSource(nameof(IndicesOfWords))] int index)
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model(name));
        StellaModelInfo info = await pool.WarmUpAsync();
        foreach (StellaPrompt prompt in new[] { StellaPrompt.Document, StellaPrompt.SearchQuery })
        {
            var options = new StellaEmbedOptions { Prompt = prompt };
            string rest = await new StartCutter(pool, info, options).CutAsync(Texts[index], CancellationToken.None);
            Assert.That(rest, Is.EqualTo(RunningServer.FindRest(name, Texts[index], options)));
        }
    }

    [TestCase("short")]
    [TestCase("")]
    [TestCase("   ")]
    public async Task A_text_that_fits_is_not_cut(string text)
    {
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-qwen2"));
        StellaModelInfo info = await pool.WarmUpAsync();
        Assert.That(await new StartCutter(pool, info, new StellaEmbedOptions()).CutAsync(text, CancellationToken.None), Is.EqualTo(text));
    }

    [TestCase("世界")]
    [TestCase("e\u0301")]
    [TestCase("😀")]
    public async Task Text_without_blanks_is_cut_before_a_character(string repeated)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-qwen2"));
        await using var pool = new StellaEmbeddingPool(model);
        string text = $"first {string.Concat(Enumerable.Repeat(repeated, 3000))}";
        string rest = await new StartCutter(pool, model.Info, new StellaEmbedOptions()).CutAsync(text, CancellationToken.None);
        Assert.That(rest, Is.Not.Empty);
        Assert.That(rest.EnumerateRunes().First(), Is.AnyOf(repeated.EnumerateRunes().First(), repeated == "世界" ? "界".EnumerateRunes().First() : default));
        Assert.That(model.Tokenize(rest).TokenCount.IsTruncated, Is.False);
        Assert.That(model.Tokenize(repeated + rest).TokenCount.IsTruncated, "one more character does not fit");
    }

    private static Task<RunningServer> StartAsync(string name) =>
        RunningServer.StartAsync(options => options.Models.Add(new StellaServedModelOptions { Name = name, Path = Fixtures.Model(name) }));
}
