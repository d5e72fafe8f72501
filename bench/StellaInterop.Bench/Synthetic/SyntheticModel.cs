using System.Security.Cryptography;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Terminal;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Synthetic;

/// <summary>
/// A model with random weights in the full shape of Stella 400M. Its vectors are meaningless, but its forward pass takes as long as
/// that of the real model.
/// </summary>
/// <remarks>
/// The folder takes 2.1 GB: the weights, and the int8 weights for ONNX Runtime. An existing large file is kept if its SHA-256 is
/// right, and written again if it is not.
/// </remarks>
internal static class SyntheticModel
{
    public const string Name = "synthetic-400m";

    private const int Hidden = 1024;
    private const int Intermediate = 4096;
    private const int Layers = 24;
    private const int Vocabulary = 30528;
    private const int FirstHeadIndex = 1000;

    /// <summary>The small files, in the layout of sentence-transformers.</summary>
    private static readonly (string Path, string Content)[] SmallFiles =
    [
        ("config.json", """
            {
              "architectures": ["NewModel"], "model_type": "new", "torch_dtype": "float32",
              "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
              "hidden_act": "gelu", "layer_norm_type": "layer_norm", "layer_norm_eps": 1e-12, "pack_qkv": true,
              "max_position_embeddings": 8192, "position_embedding_type": "rope",
              "rope_theta": 160000, "rope_scaling": { "factor": 2.0, "type": "ntk" },
              "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 30528
            }
            """),
        ("modules.json", """
            [
              { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer" },
              { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
              { "idx": 2, "name": "2", "path": "2_Dense_1024", "type": "sentence_transformers.models.Dense" }
            ]
            """),
        ("1_Pooling/config.json", """
            { "word_embedding_dimension": 1024, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true }
            """),
        ("2_Dense_1024/config.json", """
            {
              "in_features": 1024, "out_features": 1024, "bias": true,
              "activation_function": "torch.nn.modules.linear.Identity"
            }
            """),
    ];

    /// <summary>Files that all Stella models of this architecture share. They are copied from the shipped model.</summary>
    private static readonly string[] SharedFiles = ["tokenizer.json", "sentence_bert_config.json", "config_sentence_transformers.json"];

    /// <summary>Gets the weights of the encoder. tests/fixtures/synthetic-400m-layout.json has their SHA-256, and that of the head.</summary>
    public static SyntheticFile Encoder { get; } = new(dataStart: 65536, EncoderTensors());

    /// <summary>Gets the weights of the head.</summary>
    public static SyntheticFile Head { get; } = new(dataStart: 4096,
    [
        new(FirstHeadIndex, "linear.weight", [Hidden, Hidden], 0, 0.05f),
        new(FirstHeadIndex + 1, "linear.bias", [Hidden], 0, 0.05f),
    ]);

    /// <summary>Writes the folder. Keeps large files that are already right.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="log">Receives progress messages.</param>
    /// <param name="cancellationToken">Cancels the operation. An incomplete file is deleted.</param>
    public static void Write(string folder, Action<string> log, CancellationToken cancellationToken)
    {
        foreach (var (path, content) in SmallFiles)
        {
            string file = Path.Combine(folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, content + "\n");
        }

        foreach (string name in SharedFiles)
        {
            File.Copy(Path.Combine(StellaMiniModel.Path, name), Path.Combine(folder, name), overwrite: true);
        }

        foreach (string graph in new[] { "model.onnx", "model_int8.onnx" })
        {
            File.Copy(SourceTree.Asset(graph), Path.Combine(folder, graph), overwrite: true);
        }

        var int8 = new Int8Weights([.. Encoder.Tensors.Where(tensor => tensor.Name.EndsWith("_proj.weight", StringComparison.Ordinal))]);
        (string Path, string Sha256, Action<Action<ReadOnlyMemory<byte>>, CancellationToken> Write)[] large =
        [
            ("model.safetensors", "3cfe2c4df71a58fc05bb85cfdd962d4963495dcd48ade5b8ad39917a0518c2a4", Encoder.Write),
            ("2_Dense_1024/model.safetensors", "4fe493005473eb0ef0dd0f8c6a0401102028382039df9e4721e78b8becd2e1d5", Head.Write),
            ("stella400m_synthetic_int8.bin", "e4bc304a5e3749db4ff99a343ab8f01d6981413b0dc6c22786254a3d628e76b6", int8.Write),
        ];
        foreach (var (path, sha256, write) in large)
        {
            string file = Path.Combine(folder, path);
            if (File.Exists(file) && Sha256Of(file) == sha256)
            {
                log($"Keeping {file}.");
                continue;
            }

            log($"Writing {file}.");
            WriteChecked(file, sha256, write, cancellationToken);
        }
    }

    private static List<SyntheticTensor> EncoderTensors()
    {
        var tensors = new List<SyntheticTensor>();
        void Add(string name, int[] shape, float @base, float amplitude) =>
            tensors.Add(new SyntheticTensor(tensors.Count, $"new.{name}", shape, @base, amplitude));
        void AddNorm(string name)
        {
            Add($"{name}.weight", [Hidden], 1, 0.1f);
            Add($"{name}.bias", [Hidden], 0, 0.05f);
        }

        Add("embeddings.word_embeddings.weight", [Vocabulary, Hidden], 0, 0.05f);
        Add("embeddings.token_type_embeddings.weight", [2, Hidden], 0, 0.05f);
        AddNorm("embeddings.LayerNorm");
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"encoder.layer.{layer}";
            Add($"{prefix}.attention.qkv_proj.weight", [3 * Hidden, Hidden], 0, 0.05f);
            Add($"{prefix}.attention.qkv_proj.bias", [3 * Hidden], 0, 0.02f);
            Add($"{prefix}.attention.o_proj.weight", [Hidden, Hidden], 0, 0.05f);
            Add($"{prefix}.attention.o_proj.bias", [Hidden], 0, 0.02f);
            Add($"{prefix}.mlp.up_gate_proj.weight", [2 * Intermediate, Hidden], 0, 0.05f);
            Add($"{prefix}.mlp.down_proj.weight", [Hidden, Intermediate], 0, 0.025f);
            Add($"{prefix}.mlp.down_proj.bias", [Hidden], 0, 0.02f);
            AddNorm($"{prefix}.attn_ln");
            AddNorm($"{prefix}.mlp_ln");
        }

        return tensors;
    }

    /// <summary>Writes a file under a temporary name, and renames it if its hash is right.</summary>
    private static void WriteChecked(
        string file, string sha256, Action<Action<ReadOnlyMemory<byte>>, CancellationToken> write, CancellationToken cancellationToken)
    {
        string unfinished = $"{file}.unfinished";
        try
        {
            using (var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256))
            {
                using (FileStream stream = File.Create(unfinished, bufferSize: 0))
                {
                    write(part =>
                    {
                        hash.AppendData(part.Span);
                        stream.Write(part.Span);
                    }, cancellationToken);
                }

                string found = Convert.ToHexStringLower(hash.GetHashAndReset());
                if (found != sha256)
                {
                    throw new BenchException($"{file} has the SHA-256 {found} instead of {sha256}. The generator is faulty.");
                }
            }

            File.Move(unfinished, file, overwrite: true);
        }
        finally
        {
            File.Delete(unfinished);
        }
    }

    private static string Sha256Of(string file)
    {
        using FileStream stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
