using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.Interop;
using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>What loading shares, what it costs beforehand, and against what it holds the files.</summary>
[NonParallelizable]
internal sealed class LoadingTests
{
    private static ulong Loads => NativeMethods.stella_counter((uint)NativeCounter.Loads);

    [Test]
    public void Sixty_four_threads_that_load_the_same_model_load_it_once()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
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

        // A model that is disposed takes nothing from those who share its weights.
        float[] expected = models[0].Embed("river");
        Array.ForEach(models[..63], model => model.Dispose());
        Assert.That(models[63].Embed("river"), Is.EqualTo(expected));
        models[63].Dispose();
        StellaModel.Load(folder.Path).Dispose();
        Assert.That(Loads - before, Is.EqualTo(2));
    }

    /// <summary>Bytes that native code holds, which no other process and no garbage moves.</summary>
    [Test]
    public void Four_sessions_take_less_than_a_tenth_more_memory_than_one()
    {
        using var model = StellaModel.Load(Tree.Model("stella-mini"), new StellaModelOptions { MaxTokens = 64 });
        ulong unused = Live();
        var sessions = new List<SessionHandle>();
        ulong one = StartAndUse();
        for (int i = 1; i < 4; i++)
        {
            _ = StartAndUse();
        }

        ulong four = Live();
        sessions.ForEach(session => session.Dispose());
        Assert.That(one, Is.GreaterThan(unused), "a session has memory of its own");
        Assert.That(four, Is.GreaterThan(one).And.LessThan(1.1 * one));

        ulong StartAndUse()
        {
            var session = new SessionHandle(model.Handle, threads: 1, maxBatchTokens: 64);
            sessions.Add(session);
            uint[] ids = [.. Enumerable.Repeat(2000u, 64)];
            session.Embed(
                new TokenBatch(ids, [0, 64], []),
                model.Info.DefaultDimension,
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
    public void Both_load_modes_give_the_same_bits(string name)
    {
        using var copied = StellaModel.Load(Tree.Model(name), new StellaModelOptions { LoadMode = StellaLoadMode.Copied });
        using var mapped = StellaModel.Load(Tree.Model(name), new StellaModelOptions { LoadMode = StellaLoadMode.Mapped });
        Assert.That(mapped.Embed("river"), Is.EqualTo(copied.Embed("river")));
    }

    [Test]
    public void The_estimate_is_that_of_the_loaded_model_and_loads_nothing()
    {
        NativeLibraryLoader.EnsureLoaded();
        ulong before = Loads;
        var options = new StellaModelOptions { MaxTokens = 128, Dimension = 256 };
        StellaMemoryEstimate estimate = StellaModel.EstimateMemory(Tree.Model("tiny-qwen2"), options);
        Assert.That(Loads, Is.EqualTo(before));
        using var model = StellaModel.Load(Tree.Model("tiny-qwen2"), options);
        Assert.That(estimate.TotalBytes, Is.EqualTo(model.Info.MemoryEstimateBytes).And.GreaterThan(estimate.WeightsBytes));
        Assert.That(
            () => StellaModel.EstimateMemory(Tree.Model("tiny-qwen2"), options with { Dimension = 7 }),
            Throws.TypeOf<StellaOptionException>());
    }

    [Test]
    public void An_estimate_grows_with_what_the_model_is_to_do()
    {
        string path = Tree.Model("tiny-new");
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
    public void Weights_that_are_not_finite_are_refused_unless_they_are_not_looked_at()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        Poke(folder.File("model.safetensors"), float.NaN);
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Message, Does.Contain("model.safetensors").And.Contain("NaN").And.Contain("finite"));
        using var model = StellaModel.Load(folder.Path, new StellaModelOptions { CheckWeights = false });
        var vector = Assert.Throws<StellaInputException>(() => model.Embed(["river"], new float[1024], new StellaEmbedOptions { FirstTextIndex = 5 }));
        Assert.That((vector!.Code, vector.TextIndex), Is.EqualTo((StellaErrorCode.ResultNotFinite, 5)));
    }

    [Test]
    public void A_head_of_zeros_gives_an_error_and_no_vector()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
        string file = folder.File("2_Dense_256/model.safetensors");
        byte[] bytes = File.ReadAllBytes(file);
        bytes.AsSpan(8 + (int)BitConverter.ToUInt64(bytes)).Clear();
        File.WriteAllBytes(file, bytes);
        using var model = StellaModel.Load(folder.Path);
        var error = Assert.Throws<StellaInputException>(
            () => model.Embed(["a", "b"], new float[512], new StellaEmbedOptions { Dimension = 256, Normalize = false }));
        Assert.That((error!.Code, error.TextIndex), Is.EqualTo((StellaErrorCode.ResultZero, 0)));
        Assert.That(Vectors.Norm(model.Embed("a")), Is.EqualTo(1).Within(1e-6), "other heads go on");
    }

    [Test]
    public void Files_are_held_against_a_manifest_in_the_folder_or_in_the_options()
    {
        using TemporaryFolder folder = Tree.Copy("tiny-new");
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
