using System.Globalization;
using System.Text.Json;

namespace StellaInterop.Tests;

/// <summary>Tests <c>stella similarity</c>, <c>stella info</c> and the help.</summary>
internal sealed class SimilarityAndInfoTests
{
    private static readonly string[] Readme =
    [
        "similarity", "How do I reset my password?", "Banana bread with walnuts", "Steps to recover access to your account",
        "The new phone has a better camera",
    ];

    [Test]
    public void The_shipped_model_ranks_the_matching_text_of_the_readme_first()
    {
        StellaResult result = StellaProcess.Run(Readme);
        string[] lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.That((result.ExitCode, result.Error, lines.Length), Is.EqualTo((0, "", 3)));
        double[] scores = [.. lines.Select(line => double.Parse(line.Trim().Split(' ')[0], CultureInfo.InvariantCulture))];
        Assert.Multiple(() =>
        {
            Assert.That(lines[0], Does.EndWith("  Steps to recover access to your account"));
            Assert.That(scores, Is.Ordered.Descending);
            Assert.That(scores[0], Is.GreaterThan(0.5));
            Assert.That(scores[1], Is.LessThan(0.2));
        });
    }

    [Test]
    public void Rows_have_index_score_and_text_and_only_the_query_has_the_search_prompt()
    {
        StellaResult jsonl = StellaProcess.Run([.. Readme, "--format", "jsonl", "--prompt", "s2p"]);
        StellaResult json = StellaProcess.Run([.. Readme, "--format", "json", "--prompt", "s2p"]);
        using StellaModel model = StellaModel.Load(Fixtures.Model("stella-mini"));
        float[] query = model.Embed(Readme[1], new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery });
        Assert.That(StellaResult.Parse(json.Output).GetArrayLength(), Is.EqualTo(3));
        Assert.Multiple(() =>
        {
            foreach (JsonElement row in jsonl.Rows)
            {
                string text = row.GetProperty("text").GetString()!;
                Assert.That(text, Is.EqualTo(Readme[2 + row.GetProperty("index").GetInt32()]));
                // s2p is the prompt of the query; the texts are documents.
                double expected = Vectors.Cosine(query, model.Embed(text));
                Assert.That(row.GetProperty("score").GetDouble(), Is.EqualTo(expected).Within(1e-5), text);
            }
        });
    }

    [Test]
    public void The_default_prompt_applies_to_the_query_but_not_to_the_texts([Values] bool hasDocumentPrompt)
    {
        using var folder = new TemporaryFolder();
        folder.CopyFrom(FormGolden.Read("default-prompt").Folder);
        if (!hasDocumentPrompt)
        {
            folder.Edit("config_sentence_transformers.json", "\"document\":", "\"other\":");
        }

        string[] texts = ["Steps to recover access", "Banana bread"];
        JsonElement[] rows = StellaProcess.Run(
            ["similarity", "reset my password", .. texts, "--format", "jsonl", "--model", folder.Path, "--precision", "f32"]).Rows;
        using StellaModel model = StellaModel.Load(folder.Path, new StellaModelOptions { Precision = StellaPrecision.Float32 });
        Assert.That(model.Info.DefaultPrompt, Is.EqualTo("query"));
        float[] query = model.Embed("reset my password", new StellaEmbedOptions { Prompt = StellaPrompt.FromName("query") });
        Assert.That(rows, Has.Length.EqualTo(2));
        foreach (JsonElement row in rows)
        {
            string text = row.GetProperty("text").GetString()!;
            float[] document = model.Embed(text, new StellaEmbedOptions { Prompt = StellaPrompt.Document });
            Assert.That(row.GetProperty("score").GetDouble(), Is.EqualTo(Vectors.Cosine(query, document)).Within(1e-5), text);
            float[] withDefault = model.Embed(text);
            Assert.That(row.GetProperty("score").GetDouble(), Is.Not.EqualTo(Vectors.Cosine(query, withDefault)).Within(1e-5), text);
        }
    }

    [Test]
    public void A_truncated_text_is_reported_on_standard_error()
    {
        StellaResult result = StellaProcess.Run("similarity", "a", "b c d e f g", "--max-tokens", "4", "--prompt", "document");
        Assert.That(result.ExitCode, Is.Zero);
        Assert.That(result.Error, Does.StartWith("warning: Text 0 was truncated from 8 to 4 tokens."));

        StellaResult query = StellaProcess.Run("similarity", "b c d e f g", "a", "--max-tokens", "4", "--prompt", "document", "--format", "json");
        Assert.That((query.ExitCode, query.Error), Is.EqualTo((0, "warning: The query was truncated from 8 to 4 tokens.\n")));
    }

    [Test]
    public void Text_and_json_of_info_agree()
    {
        StellaResult text = StellaProcess.Run("info", "--model", Fixtures.Model("tiny-qwen2"), "--precision", "int8");
        JsonElement json = StellaProcess.Run("info", "--format", "json", "--model", Fixtures.Model("tiny-qwen2"), "--precision", "int8").Rows.Single();
        Assert.Multiple(() =>
        {
            Assert.That(text.Output, Does.Contain("Qwen2").And.Contain("256, 768, 1024").And.Contain("int8").And.Contain("kernels"));
            Assert.That(json.GetProperty("architecture").GetString(), Is.EqualTo("Qwen2"));
            Assert.That(json.GetProperty("dimensions").Deserialize<int[]>(), Is.EqualTo(new[] { 256, 768, 1024 }));
            Assert.That(json.GetProperty("hidden_size").GetInt32(), Is.EqualTo(96));
            Assert.That(json.GetProperty("precision").GetString(), Is.EqualTo("int8"));
            Assert.That(json.GetProperty("encoder").GetString(), Is.EqualTo("kernels"));
            Assert.That(json.GetProperty("memory_estimate_bytes").GetInt64(), Is.GreaterThan(0));
            using var model = StellaModel.Load(Fixtures.Model("tiny-qwen2"));
            Assert.That(json.GetProperty("fingerprint").GetString(), Is.EqualTo(model.GetFingerprint()));
            Assert.That(text.Output, Does.Contain($"fingerprint      {model.GetFingerprint()}"));
        });
    }

    [Test]
    public void Help_lists_every_option()
    {
        string[] common = ["--model", "--revision", "--dimension", "--max-tokens", "--precision", "--threads", "--verbosity"];
        (string Command, string[] Options)[] expected =
        [
            ("embed", [.. common, "--input", "--input-format", "--format", "--prompt", "--raw", "--on-long-text"]),
            ("similarity", [.. common, "--format", "--prompt", "--raw", "--on-long-text"]),
            ("tokenize", [.. common, "--input", "--input-format", "--format", "--prompt", "--on-long-text"]),
            ("info", [.. common, "--format"]),
            ("download", ["--revision", "--dir", "--dimension", "--endpoint", "--offline", "--retries", "--verbosity", "HF_TOKEN"]),
            ("verify", ["--revision", "--manifest", "--verbosity"]),
            ("manifest", ["--revision", "--output", "--verbosity"]),
        ];
        StellaResult root = StellaProcess.Run("--help");
        Assert.Multiple(() =>
        {
            Assert.That(root.ExitCode, Is.Zero);
            foreach (var (command, options) in expected)
            {
                Assert.That(root.Output, Does.Contain(command));
                StellaResult help = StellaProcess.Run(command, "--help");
                Assert.That(help.ExitCode, Is.Zero);
                Assert.That(options.Where(option => !help.Output.Contains(option)), Is.Empty, command);
            }

            Assert.That(StellaProcess.Run("--version").Output, Does.Match(@"^\d+\.\d+\.\d+"));
        });
    }
}
