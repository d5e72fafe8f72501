using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.Time.Testing;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests.Serving;

/// <summary>Pools over the native library and changing folders: long prompts, deleted heads, replaced files.</summary>
internal sealed class RealModelTests
{
    private static readonly StellaModelOptions OneThread = new() { Threads = 1 };

    private static StellaPoolOptions Options => new() { MaxWorkers = 1 };

    [Test]
    public async Task A_model_with_a_long_prompt_answers_calls_of_any_size([Values(20, 200, 600)] int words, [Values("tiny-new", "tiny-qwen2")] string name)
    {
        using TemporaryFolder folder = Fixtures.Copy(name);
        SetPrompt(folder, string.Join(' ', Enumerable.Repeat("river", words)) + ": ");
        string[] texts = [.. Enumerable.Range(0, 24).Select(i => $"the bridge number {i}")];
        var options = new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery };
        using StellaModel model = StellaModel.Load(folder.Path, OneThread);
        await using var pool = new StellaEmbeddingPool(folder.Path, OneThread, Options);
        foreach (int count in new[] { 1, 2, 3, 5, 6, 7, 8, 24 })
        {
            // The call has no timeout. The limit of the test ends a call that is never answered.
            StellaEmbeddings found = await pool.EmbedAsync(texts[..count], options).WaitAsync(Eventually.Timeout);
            for (int i = 0; i < count; i++)
            {
                Assert.That(found[i].ToArray(), Is.EqualTo(model.Embed(texts[i], options)), $"text {i} of {count}");
            }
        }
    }

    [Test]
    public void The_token_counts_of_prompts_and_special_tokens_match_the_tokenizer([Values("tiny-new", "tiny-qwen2", "stella-mini")] string name)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name), OneThread);
        int frame = model.Tokenize("").TokenCount.Total;
        Assert.That(model.Info.FrameTokens, Is.EqualTo(frame));
        Assert.That(model.Info.TokensBesideText(StellaPrompt.Document), Is.EqualTo(frame));
        Assert.That(model.Info.TokensBesideText(StellaPrompt.Default), Is.EqualTo(frame));
        Assert.That(model.Info.Prompts, Is.Not.Empty);
        foreach (StellaPromptInfo prompt in model.Info.Prompts)
        {
            var named = StellaPrompt.FromName(prompt.Name);
            int withPrompt = model.Tokenize("", new StellaEmbedOptions { Prompt = named }).TokenCount.Total;
            Assert.That(prompt.TokenCount, Is.EqualTo(withPrompt - frame).And.Positive);
            Assert.That(model.Info.TokensBesideText(named), Is.EqualTo(withPrompt));
        }

        foreach (StellaPrompt prompt in new[] { StellaPrompt.SearchQuery, StellaPrompt.SentenceSimilarity })
        {
            int withPrompt = model.Tokenize("", new StellaEmbedOptions { Prompt = prompt }).TokenCount.Total;
            Assert.That(model.Info.TokensBesideText(prompt), Is.AtLeast(withPrompt));
        }
    }

    [Test]
    public async Task Only_calls_of_a_head_whose_file_was_deleted_are_refused_with_the_default_breaker()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        await using var pool = new StellaEmbeddingPool(folder.Path, OneThread, Options);
        float[] before = await pool.EmbedAsync("river");
        File.Delete(folder.File("2_Dense_256/model.safetensors"));
        var deletedHead = new StellaEmbedOptions { Dimension = 256 };
        for (int i = 0; i < 5; i++)
        {
            var error = Assert.ThrowsAsync<StellaModelFolderException>(() => pool.EmbedAsync(["one", "two", "three"], deletedHead))!;
            Assert.That(error.Message, Does.Contain("2_Dense_256"));
            Assert.That(await pool.EmbedAsync("river"), Is.EqualTo(before));
        }

        Assert.That(async () => await pool.EmbedAsync("four", deletedHead), Throws.TypeOf<StellaCircuitOpenException>());
        Assert.That(await pool.EmbedAsync("river"), Is.EqualTo(before));
        Assert.That(pool.GetHealth().Status, Is.EqualTo(StellaPoolStatus.Degraded));
    }

    [Test]
    public void A_head_file_replaced_after_the_load_is_an_error_that_names_the_file(
        [Values] StellaLoadMode mode)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        using StellaModel model = StellaModel.Load(folder.Path, new StellaModelOptions { Threads = 1, LoadMode = mode });
        float[] before = model.Embed("river");
        Perturb(folder, "2_Dense_256/model.safetensors");
        var error = Assert.Throws<StellaModelFolderException>(() => model.Embed("river", new StellaEmbedOptions { Dimension = 256 }))!;
        Assert.That(error.Code, Is.EqualTo(StellaErrorCode.ModelFileInvalid));
        Assert.That(error.Message, Does.Contain("2_Dense_256").And.Contain("model.safetensors"));
        Assert.That(model.Embed("river"), Is.EqualTo(before), "the head that was loaded with the model still works");
        Assert.That(model.Embed("river", new StellaEmbedOptions { Dimension = 768 }), Has.Length.EqualTo(768), "a head with an unchanged file can be loaded");
    }

    [Test]
    public async Task A_reload_after_a_file_was_replaced_returns_no_cached_vectors_of_the_old_file()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        var clock = new FakeTimeProvider();
        await using var pool = new StellaEmbeddingPool(folder.Path, OneThread, Options with
        {
            MinWorkers = 0,
            IdleTimeout = TimeSpan.FromSeconds(10),
            MaxCacheBytes = 1 << 20,
            TimeProvider = clock,
        });
        float[] old = await pool.EmbedAsync("a text");
        Assert.That(await pool.EmbedAsync("a text"), Is.EqualTo(old));
        clock.Advance(TimeSpan.FromSeconds(15));
        await Eventually.IsTrueAsync(() => pool.GetHealth().ModelState == StellaPoolModelState.Unloaded, "the model is unloaded");
        Perturb(folder, StellaModelFiles.WeightsFileName);
        float[] now = await pool.EmbedAsync("a text");
        using StellaModel model = StellaModel.Load(folder.Path, OneThread);
        Assert.That(now, Is.EqualTo(model.Embed("a text")).And.Not.EqualTo(old));
    }

    [Test]
    public async Task A_pool_can_be_disposed_after_a_drain_timeout_outside_the_timer_range_was_refused()
    {
        var pool = new StellaEmbeddingPool(Fixtures.Model("tiny-new"), OneThread, Options);
        _ = await pool.EmbedAsync("river");
        Assert.That(() => pool.DrainAsync(TimeSpan.MaxValue), Throws.TypeOf<ArgumentOutOfRangeException>());
        await pool.DisposeAsync();
        pool.Dispose();
        Assert.That(pool.GetHealth().WorkerCount, Is.Zero);
    }

    private static void SetPrompt(TemporaryFolder folder, string prompt)
    {
        string path = folder.File("config_sentence_transformers.json");
        var settings = (JsonObject)JsonNode.Parse(File.ReadAllText(path))!;
        settings["prompts"]!["s2p_query"] = prompt;
        File.WriteAllText(path, settings.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
    }

    /// <summary>Replaces a file by one of the same size with other valid numbers.</summary>
    private static void Perturb(TemporaryFolder folder, string name)
    {
        byte[] content = File.ReadAllBytes(folder.File(name));
        int part = (content.Length / 8) & ~3;
        content.AsSpan(content.Length - (2 * part), part).CopyTo(content.AsSpan(content.Length - part));
        File.WriteAllBytes(folder.File(name + ".new"), content);
        File.Move(folder.File(name + ".new"), folder.File(name), overwrite: true);
    }
}
