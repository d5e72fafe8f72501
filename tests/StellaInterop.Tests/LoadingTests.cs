using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Loading: shared weights, memory estimates, and the checks of weights and manifest.</summary>
[NonParallelizable]
internal sealed class LoadingTests
{
    private static ulong Loads => NativeMethods.stella_counter((uint)NativeCounter.Loads);

    [Test]
    public void Sixty_four_concurrent_loads_of_a_model_read_it_once()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        using var start = new Barrier(64);
        NativeLibraryLoader.EnsureLoaded();
        ulong before = Loads;
        var models = new StellaModel[64];
        Thread[] threads = [.. Enumerable.Range(0, 64).Select(i => new Thread(() =>
        {
            start.SignalAndWait();
            models[i] = StellaModel.Load(folder.Path);
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(Loads - before, Is.EqualTo(1));

        // Disposing a model does not affect the models that share its weights.
        float[] expected = models[0].Embed("river");
        Array.ForEach(models[..63], model => model.Dispose());
        Assert.That(models[63].Embed("river"), Is.EqualTo(expected));
        models[63].Dispose();
        StellaModel.Load(folder.Path).Dispose();
        Assert.That(Loads - before, Is.EqualTo(2));
    }

    /// <summary>Counts live native bytes, which do not depend on other processes or on garbage.</summary>
    [Test]
    public void Four_sessions_use_less_than_ten_percent_more_memory_than_one()
    {
        using var model = StellaModel.Load(Fixtures.Model("stella-mini"), new StellaModelOptions { MaxTokens = 64 });
        ulong unused = Live();
        var sessions = new List<SessionHandle>();
        ulong one = StartAndUse();
        for (int i = 1; i < 4; i++)
        {
            _ = StartAndUse();
        }

        ulong four = Live();
        sessions.ForEach(session => session.Dispose());
        Assert.That(one, Is.GreaterThan(unused), "a session uses memory");
        Assert.That(four, Is.GreaterThan(one).And.LessThan(1.1 * one));

        ulong StartAndUse()
        {
            var session = new SessionHandle(model.Handle, threads: 1, maxBatchTokens: 64);
            sessions.Add(session);
            uint[] ids = [.. Enumerable.Repeat(2000u, 64)];
            session.Embed(
                new TokenBatch(ids, [0, 64], []),
                new Heads(model.Info.DefaultDimension),
                normalize: true,
                firstTextIndex: 0,
                [],
                new float[model.Info.DefaultDimension]);
            return Live();
        }

        static ulong Live() => NativeMethods.stella_counter((uint)NativeCounter.LiveBytes);
    }

    [TestCase("tiny-new")]
    [TestCase("tiny-qwen2-sharded")]
    public void Both_load_modes_produce_the_same_bits(string name)
    {
        using var copied = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { LoadMode = StellaLoadMode.Copied });
        using var mapped = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { LoadMode = StellaLoadMode.Mapped });
        Assert.That(mapped.Embed("river"), Is.EqualTo(copied.Embed("river")));
    }

    [Test]
    public void EstimateMemory_returns_the_estimate_of_the_loaded_model_without_a_load()
    {
        NativeLibraryLoader.EnsureLoaded();
        ulong before = Loads;
        var options = new StellaModelOptions { MaxTokens = 128, Dimension = 256 };
        StellaMemoryEstimate estimate = StellaModel.EstimateMemory(Fixtures.Model("tiny-qwen2"), options);
        Assert.That(Loads, Is.EqualTo(before));
        using var model = StellaModel.Load(Fixtures.Model("tiny-qwen2"), options);
        Assert.That(estimate.TotalBytes, Is.EqualTo(model.Info.MemoryEstimateBytes).And.GreaterThan(estimate.WeightsBytes));
        Assert.That(
            () => StellaModel.EstimateMemory(Fixtures.Model("tiny-qwen2"), options with { Dimension = 7 }),
            Throws.TypeOf<StellaOptionException>());
    }

    [Test]
    public void The_memory_estimate_grows_with_the_workload()
    {
        string path = Fixtures.Model("tiny-new");
        StellaMemoryEstimate one = StellaModel.EstimateMemory(path);
        StellaMemoryEstimate eight = StellaModel.EstimateMemory(path, null, new StellaWorkload { Sessions = 8 });
        StellaMemoryEstimate small = StellaModel.EstimateMemory(path, null, new StellaWorkload { Threads = 1, MaxBatchTokens = 1 });
        StellaMemoryEstimate mapped = StellaModel.EstimateMemory(path, new StellaModelOptions { LoadMode = StellaLoadMode.Mapped });
        Assert.Multiple(() =>
        {
            Assert.That((eight.WeightsBytes, eight.SessionBytes), Is.EqualTo((one.WeightsBytes, one.SessionBytes)));
            Assert.That(eight.TotalBytes - one.TotalBytes, Is.EqualTo(7 * one.SessionBytes));
            Assert.That(small.SessionBytes, Is.LessThan(one.SessionBytes));
            Assert.That(mapped.LoadingBytes, Is.GreaterThan(one.LoadingBytes));
            Assert.That(() => StellaModel.EstimateMemory(path, null, new StellaWorkload { Sessions = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => StellaModel.EstimateMemory(path, null, new StellaWorkload { Threads = 1025 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => StellaModel.EstimateMemory(path, null, new StellaWorkload { MaxBatchTokens = (1 << 20) + 1 }), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [Test]
    public void Weights_that_are_not_finite_are_refused_unless_the_check_is_off()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        Poke(folder.File("model.safetensors"), float.NaN);
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Message, Does.Contain("model.safetensors").And.Contain("NaN").And.Contain("finite"));
        using var model = StellaModel.Load(folder.Path, new StellaModelOptions { CheckWeights = false });
        var vector = Assert.Throws<StellaInputException>(() => model.Embed(["river"], new float[1024], new StellaEmbedOptions { FirstTextIndex = 5 }));
        Assert.That((vector!.Code, vector.TextIndex), Is.EqualTo((StellaErrorCode.ResultNotFinite, 5)));
    }

    [Test]
    public void A_head_of_zeros_causes_an_error_instead_of_a_zero_vector()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string file = folder.File("2_Dense_256/model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes.AsSpan(8 + (int)BitConverter.ToUInt64(bytes)).Clear();
        File.WriteAllBytes(file, bytes);
        using var model = StellaModel.Load(folder.Path);
        var error = Assert.Throws<StellaInputException>(
            () => model.Embed(["a", "b"], new float[512], new StellaEmbedOptions { Dimension = 256, Normalize = false }));
        Assert.That((error!.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.ResultZero, 0)));
        Assert.That(Vectors.Norm(model.Embed("a")), Is.EqualTo(1).Within(1e-6), "other heads still work");
    }

    [Test]
    public void Files_are_verified_against_a_manifest_in_the_folder_or_in_the_options()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string elsewhere = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        WriteManifest(folder.Path, elsewhere);
        StellaModel.Load(folder.Path, new StellaModelOptions { ManifestPath = elsewhere }).Dispose();
        Poke(folder.File("model.safetensors"), 0.25f);
        StellaModel.Load(folder.Path).Dispose();
        var error = Assert.Throws<StellaModelFolderException>(
            () => StellaModel.Load(folder.Path, new StellaModelOptions { ManifestPath = elsewhere }));
        Assert.That(error!.Message, Does.Contain("model.safetensors").And.Contain("SHA-256").And.Contain(elsewhere));
        File.Move(elsewhere, folder.File("stella.manifest.json"));
        Assert.That(() => StellaModel.Load(folder.Path), Throws.TypeOf<StellaModelFolderException>());
    }

    private static void Poke(string file, float value)
    {
        byte[] bytes = File.ReadAllBytes(file);
        BitConverter.TryWriteBytes(bytes.AsSpan(^400), value);
        File.WriteAllBytes(file, bytes);
    }

    private static void WriteManifest(string folder, string path)
    {
        var files = Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).ToDictionary(
            file => Path.GetRelativePath(folder, file).Replace('\\', '/'),
            file => new { size = new FileInfo(file).Length, sha256 = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file))) });
        File.WriteAllText(path, JsonSerializer.Serialize(new { version = 1, files }));
    }
}
