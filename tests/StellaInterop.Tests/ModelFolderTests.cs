using StellaInterop.Tests.Serving;

namespace StellaInterop.Tests;

/// <summary>Invalid folders and options are refused with an error that names the file and the reason.</summary>
internal sealed class ModelFolderTests
{
    [Test]
    public void A_missing_folder_and_a_file_in_its_place_have_different_errors()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder.File("file"), "x");
        var missing = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.File("none")));
        var file = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.File("file")));
        Assert.Multiple(() =>
        {
            Assert.That(missing!.Code, Is.EqualTo(StellaErrorCode.ModelFolderNotFound));
            Assert.That(missing.Message, Does.Contain(folder.File("none")).And.Contain("does not exist"));
            Assert.That(file!.Message, Does.Contain("is not a folder"));
            Assert.That(() => StellaModel.Load(null!), Throws.ArgumentNullException);
            Assert.That(() => StellaModel.Load(""), Throws.ArgumentException);
        });
    }

    [TestCase("config.json")]
    [TestCase("tokenizer.json")]
    [TestCase("modules.json")]
    [TestCase("model.safetensors")]
    [TestCase("1_Pooling/config.json")]
    [TestCase("2_Dense_1024/config.json")]
    [TestCase("2_Dense_1024/model.safetensors")]
    public void A_missing_file_is_named_in_the_error(string file)
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.Delete(folder.File(file));
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.ModelFileMissing));
        Assert.That(error.Message, Does.Contain(file).And.Contain("is missing"));
    }

    [Test]
    public void The_inner_exception_holds_the_cause_of_invalid_JSON()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        File.WriteAllText(folder.File("config.json"), "{ \"architectures\": [");
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.ModelFileInvalid));
        Assert.That(error.InnerException, Is.TypeOf<StellaException>());
        Assert.That(error.InnerException!.Message, Does.Contain("line 1"));
        Assert.That(error.InnerException.InnerException, Is.Null);
    }

    [Test]
    public void An_invalid_tokenizer_file_throws_a_tokenizer_exception()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        string text = File.ReadAllText(folder.File("tokenizer.json"));
        File.WriteAllText(folder.File("tokenizer.json"), text[..(text.Length / 2)]);
        var error = Assert.Throws<StellaTokenizerException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.TokenizerInvalid));
        Assert.That(error.Message, Does.Contain("tokenizer.json"));
        Assert.That(error.InnerException!.Message, Does.Contain("EOF"));
    }

    [Test]
    public void Weights_that_are_truncated_or_have_a_wrong_shape_are_refused()
    {
        using (TemporaryFolder folder = Fixtures.Copy("tiny-new"))
        {
            using (var file = File.OpenWrite(folder.File("model.safetensors")))
            {
                file.SetLength(file.Length - 1000);
            }

            var cut = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
            Assert.That(cut!.Code, Is.EqualTo(StellaErrorCode.ModelFileInvalid));
            Assert.That(cut.Message, Does.Contain("model.safetensors"));
        }

        using (TemporaryFolder folder = Fixtures.Copy("tiny-new"))
        {
            folder.Edit("config.json", "\"intermediate_size\": 128", "\"intermediate_size\": 96");
            var other = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
            Assert.That(other!.Code, Is.EqualTo(StellaErrorCode.ModelInconsistent));
            Assert.That(other.Message, Does.Contain("up_gate_proj.weight").And.Contain("[256, 64]").And.Contain("[192, 64]"));
        }
    }

    [Test]
    public void An_unsupported_architecture_is_refused_with_the_supported_ones()
    {
        using TemporaryFolder folder = Fixtures.Copy("tiny-new");
        folder.Edit("config.json", "\"NewModel\"", "\"BertModel\"");
        var error = Assert.Throws<StellaModelFolderException>(() => StellaModel.Load(folder.Path));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.ModelUnsupported));
        Assert.That(error.Message, Does.Contain("BertModel").And.Contain("NewModel").And.Contain("Qwen2ForCausalLM"));
    }

    [Test]
    public void An_unknown_dimension_is_refused_with_the_available_ones()
    {
        string path = Fixtures.Model("tiny-new");
        var load = Assert.Throws<StellaOptionException>(() => StellaModel.Load(path, new StellaModelOptions { Dimension = 512 }));
        using StellaModel model = StellaModel.Load(path);
        var call = Assert.Throws<StellaOptionException>(() => model.Embed("x", new StellaEmbedOptions { Dimension = 512 }));
        Assert.Multiple(() =>
        {
            foreach (StellaOptionException? error in new[] { load, call })
            {
                Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.UnknownDimension));
                Assert.That(error.Message, Does.Contain("512").And.Contain("256, 768").And.Contain("1024"));
            }

            Assert.That(() => model.Embed("x", new StellaEmbedOptions { Dimension = -1 }), Throws.TypeOf<ArgumentOutOfRangeException>());
        });
    }

    [TestCase(StellaPrecision.BFloat16, "bf16")]
    [TestCase(StellaPrecision.Int8, "int8")]
    public void A_precision_that_the_candle_encoder_does_not_support_is_refused(StellaPrecision precision, string name)
    {
        var options = new StellaModelOptions { Precision = precision, Encoder = StellaEncoder.Candle };
        var error = Assert.Throws<StellaOptionException>(() => StellaModel.Load(Fixtures.Model("tiny-new"), options));
        Assert.That(error!.Code, Is.EqualTo(StellaErrorCode.PrecisionUnavailable));
        Assert.That(error.Message, Does.Contain(name).And.Contain("f32"));
    }

    [Test]
    public void Options_outside_their_limits_are_refused()
    {
        static StellaModel Load(StellaModelOptions options) => StellaModel.Load(Fixtures.Model("tiny-new"), options);
        Assert.Multiple(() =>
        {
            Assert.That(() => Load(new() { MaxTokens = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => Load(new() { MaxTokens = 8193 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => Load(new() { Threads = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => Load(new() { Threads = 1025 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => Load(new() { Dimension = 0 }), Throws.TypeOf<ArgumentOutOfRangeException>());
            var special = Assert.Throws<StellaOptionException>(() => Load(new() { MaxTokens = 1 }));
            Assert.That(special!.Message, Does.Contain("2 special tokens"));
        });
        using StellaModel smallest = Load(new() { MaxTokens = 2 });
        Assert.That(smallest.Tokenize("a b c").TokenCount.Kept, Is.EqualTo(2));
        using StellaModel largest = Load(new() { MaxTokens = 8192 });
        Assert.That(largest.Info.MaxTokens, Is.EqualTo(8192));
    }

    [TestCase("tiny-new", StellaArchitecture.NewModel, 64, 4, 1216)]
    [TestCase("tiny-qwen2", StellaArchitecture.Qwen2, 96, 6, 816)]
    public void Info_describes_the_model_in_the_folder(string name, StellaArchitecture architecture, int hidden, int heads, int vocabulary)
    {
        using StellaModel model = StellaModel.Load(Fixtures.Model(name), new StellaModelOptions { Dimension = 256 });
        StellaModelInfo info = model.Info;
        Assert.Multiple(() =>
        {
            Assert.That(info.Path, Is.EqualTo(Fixtures.Model(name)));
            Assert.That(info.Architecture, Is.EqualTo(architecture));
            Assert.That(info.Dimensions, Is.EqualTo(new[] { 256, 768, 1024 }));
            Assert.That(info.DefaultDimension, Is.EqualTo(256));
            Assert.That((info.HiddenSize, info.LayerCount, info.AttentionHeadCount, info.VocabularySize), Is.EqualTo((hidden, 3, heads, vocabulary)));
            StellaPrecision expected = info.CpuLevel >= StellaCpuLevel.Avx512Bf16 ? StellaPrecision.BFloat16 : StellaPrecision.Float32;
            Assert.That((info.Precision, info.Encoder), Is.EqualTo((expected, StellaEncoder.Kernels)));
            Assert.That(info.Device, Is.EqualTo(StellaDevice.Cpu));
            Assert.That(info.MaxTokens, Is.EqualTo(512));
            Assert.That(info.ParameterCount, Is.EqualTo(ParameterCount(name)));
            Assert.That(info.MemoryEstimateBytes, Is.GreaterThan(4 * info.ParameterCount));
            Assert.That(model.Embed("x"), Has.Length.EqualTo(256));
            Assert.That(model.Embed("x", new StellaEmbedOptions { Dimension = 768 }), Has.Length.EqualTo(768));
        });
    }

    /// <summary>Counts the parameters of the encoder and the head of dimension 256 from the lengths of their data, which is all F32.</summary>
    private static long ParameterCount(string name) => new[] { "model.safetensors", "2_Dense_256/model.safetensors" }.Sum(file =>
    {
        using FileStream stream = File.OpenRead(Path.Combine(Fixtures.Model(name), file));
        using var reader = new BinaryReader(stream);
        return (stream.Length - 8 - reader.ReadInt64()) / 4;
    });
}
