using System.Text;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests the rows of <c>stella embed</c> and <c>stella tokenize</c>, which scripts depend on.</summary>
internal sealed class EmbedCommandTests
{
    [TestCase("tiny-new", 768)]
    [TestCase("tiny-qwen2", 1024)]
    [TestCase("tiny-qwen2-bf16", 256)]
    [TestCase("stella-mini", 1024)]
    public void Embed_writes_the_golden_vectors(string name, int dimension)
    {
        IReadOnlyList<GoldenCase> cases = Golden.Read(name).Cases;
        using var folder = new TemporaryFolder();
        File.WriteAllLines(folder.File("texts.jsonl"), cases.Select(Line));
        StellaResult result = StellaProcess.Run(
            "embed", "--input", folder.File("texts.jsonl"), "--input-format", "jsonl", "--raw", "--dimension", $"{dimension}",
            "--model", Fixtures.Model(name), "--precision", "f32");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        JsonElement[] rows = result.Rows;
        Assert.That(rows, Has.Length.EqualTo(cases.Count));
        Assert.Multiple(() =>
        {
            for (int i = 0; i < rows.Length; i++)
            {
                Assert.That(rows[i].EnumerateObject().Select(p => p.Name), Is.EqualTo(new[] { "index", "tokens", "total_tokens", "truncated", "embedding" }));
                Assert.That(rows[i].GetProperty("index").GetInt32(), Is.EqualTo(i));
                Assert.That(rows[i].GetProperty("tokens").GetInt32(), Is.EqualTo(cases[i].Ids.Length), cases[i].Name);
                Assert.That(rows[i].GetProperty("total_tokens").GetInt32(), Is.EqualTo(cases[i].TotalTokens), cases[i].Name);
                Assert.That(rows[i].GetProperty("truncated").GetBoolean(), Is.EqualTo(cases[i].TotalTokens > cases[i].Ids.Length));
                float[] vector = rows[i].GetProperty("embedding").Deserialize<float[]>()!;
                Assert.That(Vectors.Distance(vector, cases[i].Vectors[dimension]), Is.LessThan(1e-4), cases[i].Name);
                Assert.That(Vectors.Cosine(vector, cases[i].Vectors[dimension]), Is.GreaterThan(0.999999), cases[i].Name);
            }
        });
    }

    [TestCaseSource(typeof(FormGolden), nameof(FormGolden.Forms))]
    public void Every_form_of_a_model_folder_gives_the_vectors_of_the_reference(string name)
    {
        FormGolden golden = FormGolden.Read(name);
        FormCase[] cases = [.. golden.Cases.Where(form => form.MaxTokens is null)];
        using var folder = new TemporaryFolder();
        File.WriteAllLines(
            folder.File("texts.jsonl"), cases.Select(form => JsonSerializer.Serialize(new { text = form.Text, prompt = form.PromptName })));
        StellaResult result = StellaProcess.Run(
            "embed", "--input", folder.File("texts.jsonl"), "--input-format", "jsonl", "--raw", "--model", golden.Folder, "--precision", "f32");
        Assert.That(result.ExitCode, Is.Zero, result.Error);
        JsonElement[] rows = result.Rows;
        Assert.That(rows, Has.Length.EqualTo(cases.Length));
        for (int i = 0; i < rows.Length; i++)
        {
            Assert.That(rows[i].GetProperty("tokens").GetInt32(), Is.EqualTo(cases[i].Ids.Length), cases[i].Name);
            float[] vector = rows[i].GetProperty("embedding").Deserialize<float[]>()!;
            float[] expected = cases[i].Vectors[vector.Length];
            Assert.That(Vectors.Distance(vector, expected), Is.LessThan(1e-4), cases[i].Name);
            Assert.That(Vectors.Cosine(vector, expected), Is.GreaterThan(0.999999), cases[i].Name);
        }
    }

    [Test]
    public void Written_numbers_parse_to_the_same_floats()
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        JsonElement row = StellaProcess.Run("embed", "a text", "--model", Fixtures.Model("tiny-new")).Rows.Single();
        Assert.That(row.GetProperty("embedding").Deserialize<float[]>(), Is.EqualTo(model.Embed("a text")));
    }

    [Test]
    public void Tokenize_writes_the_golden_ids()
    {
        IReadOnlyList<GoldenCase> cases = Golden.Read("stella-mini").Cases;
        StellaResult result = StellaProcess.RunWithInput(
            string.Join('\n', cases.Select(Line)), "tokenize", "--input", "-", "--input-format", "jsonl");
        Assert.That((result.ExitCode, result.Error), Is.EqualTo((0, "")));
        Assert.That(result.Rows.Select(row => row.GetProperty("ids").Deserialize<int[]>()), Is.EqualTo(cases.Select(c => c.Ids)));
        Assert.That(
            result.Rows[0].EnumerateObject().Select(p => p.Name),
            Is.EqualTo(new[] { "index", "ids", "tokens", "total_tokens", "truncated" }));
    }

    [Test]
    public void Windows_line_ends_and_a_byte_order_mark_are_not_part_of_a_text()
    {
        // A byte-level tokenizer keeps every byte. WordPiece would drop carriage returns and the byte order mark.
        byte[] input = [.. Encoding.UTF8.Preamble, .. "river\r\n\r\nstone"u8];
        StellaResult result = StellaProcess.RunIn(
            StellaProcess.Folder, input, "tokenize", "--input", "-", "--model", Fixtures.Model("tiny-qwen2"));
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-qwen2"));
        Assert.That(
            result.Rows.Select(row => row.GetProperty("ids").Deserialize<int[]>()),
            Is.EqualTo(model.Tokenize(["river", "", "stone"]).Select(tokens => tokens.Ids.ToArray())));
    }

    [Test]
    public void Json_output_is_one_array_which_is_empty_for_an_empty_input()
    {
        string model = Fixtures.Model("tiny-new");
        StellaResult two = StellaProcess.Run("embed", "a", "b", "--format", "json", "--model", model);
        StellaResult none = StellaProcess.RunWithInput("", "embed", "--input", "-", "--format", "json", "--model", model);
        StellaResult nothing = StellaProcess.RunWithInput("", "embed", "--input", "-", "--model", model);
        Assert.Multiple(() =>
        {
            Assert.That(StellaResult.Parse(two.Output).EnumerateArray().Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(new[] { 0, 1 }));
            Assert.That(StellaResult.Parse(none.Output).GetArrayLength(), Is.Zero);
            Assert.That((nothing.ExitCode, nothing.Output), Is.EqualTo((0, "")));
        });
    }

    [Test]
    public void Rows_of_a_long_input_keep_order_and_indices()
    {
        string[] texts = [.. Enumerable.Range(0, 700).Select(i => $"text number {i}")];
        StellaResult result = StellaProcess.RunWithInput(
            string.Join('\n', texts), "tokenize", "--input", "-", "--model", Fixtures.Model("tiny-new"));
        using StellaModel model = StellaModel.Load(Fixtures.Model("tiny-new"));
        Assert.That(result.Rows.Select(row => row.GetProperty("index").GetInt32()), Is.EqualTo(Enumerable.Range(0, 700)));
        Assert.That(
            result.Rows.Select(row => row.GetProperty("ids").Deserialize<int[]>()),
            Is.EqualTo(model.Tokenize(texts).Select(tokens => tokens.Ids.ToArray())));
    }

    [Test]
    public void A_text_may_start_with_an_at_sign_or_a_dash()
    {
        StellaResult result = StellaProcess.Run("tokenize", "--model", Fixtures.Model("tiny-new"), "--", "@river", "-5 degrees", "--raw");
        Assert.That((result.ExitCode, result.Rows.Length), Is.EqualTo((0, 3)), result.Error);
    }

    [Test]
    public void A_prompt_of_a_line_overrides_the_option_and_the_log_is_on_standard_error()
    {
        string input = "{\"text\": \"river\"}\n{\"text\": \"river\", \"prompt\": \"document\"}\n{\"text\": \"river\", \"prompt\": null}";
        StellaResult result = StellaProcess.RunWithInput(
            input, "tokenize", "--input", "-", "--input-format", "jsonl", "--prompt", "s2s", "--verbosity", "debug");
        using StellaModel model = StellaModel.Load(Fixtures.Model("stella-mini"));
        StellaPrompt[] prompts = [StellaPrompt.SentenceSimilarity, StellaPrompt.Document, StellaPrompt.SentenceSimilarity];
        Assert.That(
            result.Rows.Select(row => row.GetProperty("ids").Deserialize<int[]>()),
            Is.EqualTo(prompts.Select(prompt => model.Tokenize("river", new StellaEmbedOptions { Prompt = prompt }).Ids.ToArray())));
        Assert.That(result.Error, Does.Contain("stella_core::model").And.Contain("loaded in"));
    }

    private static string Line(GoldenCase golden) => golden.PromptName == "none"
        ? JsonSerializer.Serialize(new { text = golden.Text })
        : JsonSerializer.Serialize(new { text = golden.Text, prompt = golden.PromptName });
}
