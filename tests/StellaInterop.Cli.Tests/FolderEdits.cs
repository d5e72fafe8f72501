using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using StellaInterop.ModelFiles;

namespace StellaInterop.Tests;

/// <summary>Edits of a model folder, as small functions that a table can combine.</summary>
internal static class FolderEdits
{
    public const string Config = "config.json";
    public const string Tokenizer = "tokenizer.json";
    public const string Modules = "modules.json";
    public const string Pooling = "1_Pooling/config.json";
    public const string Head = "2_Dense_1024";
    public const string HeadConfig = $"{Head}/config.json";
    public const string HeadWeights = $"{Head}/model.safetensors";
    public const string Prompts = "config_sentence_transformers.json";
    public const string Weights = StellaModelFiles.WeightsFileName;
    public const string Shard = "model-00002-of-00002.safetensors";
    public const string ShardIndex = StellaModelFiles.ShardIndexFileName;
    public const string Manifest = StellaManifest.FileName;

    public const string Qkv = "new.encoder.layer.0.attention.qkv_proj.weight";
    public const string Output = "new.encoder.layer.1.attention.o_proj.weight";
    public const string Down = "new.encoder.layer.2.mlp.down_proj.weight";
    public const string Last = "new.encoder.layer.2.mlp_ln.bias";

    /// <summary>Creates a normalizer that replaces each x by a thousand of them, five times.</summary>
    public static JsonObject ExpandingNormalizer() => new()
    {
        ["type"] = "Sequence",
        ["normalizers"] = new JsonArray(
        [
            new JsonObject { ["type"] = "Prepend", ["prepend"] = "x" },
            .. Enumerable.Range(0, 5).Select(_ => new JsonObject
            {
                ["type"] = "Replace",
                ["pattern"] = new JsonObject { ["String"] = "x" },
                ["content"] = new string('x', 1000),
            }),
        ]),
    };

    public static Action<TemporaryFolder> PrecompiledNormalizer(string map) => Set(
        Tokenizer, "normalizer", new JsonObject { ["type"] = "Precompiled", ["precompiled_charsmap"] = map });

    /// <summary>Encloses <paramref name="inner"/> in <paramref name="depth"/> pairs of brackets.</summary>
    public static string Nested(string open, string inner, string close, int depth) =>
        string.Concat(Enumerable.Repeat(open, depth)) + inner + string.Concat(Enumerable.Repeat(close, depth));

    public static string ManifestOf(int size, int digits) =>
        $"{{\"version\":1,\"files\":{{\"config.json\":{{\"size\":{size},\"sha256\":\"{new string('a', digits)}\"}}}}}}";

    public static byte[] ManyShards() => Encoding.UTF8.GetBytes(
        $"{{\"weight_map\":{{{string.Join(',', Enumerable.Range(0, 100_000).Select(i => $"\"t{i}\":\"s{i}\""))}}}}}");

    public static Action<TemporaryFolder> Put(string file, ReadOnlySpan<byte> content)
    {
        byte[] bytes = content.ToArray();
        return folder => File.WriteAllBytes(folder.File(file), bytes);
    }

    public static Action<TemporaryFolder> Append(string file, string text) => folder =>
        File.AppendAllText(folder.File(file), text);

    /// <summary>Inserts text after the first bracket of a JSON file.</summary>
    public static Action<TemporaryFolder> InsertFirst(string file, string text) => folder =>
        File.WriteAllText(folder.File(file), $"{{{text}{File.ReadAllText(folder.File(file)).TrimStart()[1..]}");

    public static Action<TemporaryFolder> Remove(string file) => folder => File.Delete(folder.File(file));

    public static Action<TemporaryFolder> Link(string file, string target) => folder =>
    {
        File.Delete(folder.File(file));
        File.CreateSymbolicLink(folder.File(file), target);
    };

    /// <summary>Truncates a file to a number of bytes, or removes bytes from its end if the number is negative.</summary>
    public static void Truncate(TemporaryFolder folder, string file, long bytes) =>
        Resize(folder, file, bytes < 0 ? new FileInfo(folder.File(file)).Length + bytes : bytes);

    /// <summary>Sets the length of a file. Added bytes are sparse and take no disk space.</summary>
    public static void Resize(TemporaryFolder folder, string file, long bytes)
    {
        using FileStream stream = File.OpenWrite(folder.File(file));
        stream.SetLength(bytes);
    }

    public static Action<TemporaryFolder> Edit(string file, Action<JsonNode> edit) => folder =>
    {
        JsonNode json = JsonNode.Parse(File.ReadAllText(folder.File(file)))!;
        edit(json);
        File.WriteAllText(folder.File(file), json.ToJsonString());
    };

    public static Action<TemporaryFolder> Set(string file, string field, JsonNode? value) =>
        Edit(file, json => json[field] = value?.DeepClone());

    public static Action<TemporaryFolder> Pattern(string pattern) => Set(Tokenizer, "pre_tokenizer", new JsonObject
    {
        ["type"] = "Split",
        ["pattern"] = new JsonObject { ["Regex"] = pattern },
        ["behavior"] = "Isolated",
        ["invert"] = false,
    });

    public static Action<TemporaryFolder> Header(Action<SafetensorsFile> edit, string file = Weights) => folder =>
    {
        SafetensorsFile weights = SafetensorsFile.Read(folder.File(file));
        edit(weights);
        weights.Write();
    };

    /// <summary>Replaces all tensors of a file by F32 tensors of zeros.</summary>
    public static Action<TemporaryFolder> Zeros(string file, params (string Name, long[] Shape)[] tensors) => Header(
        w =>
        {
            w.Header.Clear();
            w.Data = [];
            foreach (var (name, shape) in tensors)
            {
                w.Add(name, "F32", shape, w.Data.Length, w.Data.Length + (4 * shape.Aggregate((a, b) => a * b)));
            }
        },
        file);

    public static Action<TemporaryFolder> Text(Func<string, string> edit) => folder =>
        SafetensorsFile.Read(folder.File(Weights)).WriteText(edit);

    public static Action<TemporaryFolder> Raw(string header) => Text(_ => header);

    public static Action<TemporaryFolder> Length(ulong length) => folder =>
    {
        SafetensorsFile weights = SafetensorsFile.Read(folder.File(Weights));
        weights.Write(Encoding.UTF8.GetBytes(weights.Header.ToJsonString()), length);
    };

    public static void LongHeader(TemporaryFolder folder)
    {
        Length(80_000_000)(folder);
        Resize(folder, Weights, 100_000_000);
    }

    public static void NotUtf8(TemporaryFolder folder)
    {
        SafetensorsFile weights = SafetensorsFile.Read(folder.File(Weights));
        byte[] header = Encoding.UTF8.GetBytes(weights.Header.ToJsonString());
        header[header.AsSpan().IndexOf("down_proj.bias"u8)] = 0xff;
        weights.Write(header);
    }

    public static void AddGap(TemporaryFolder folder) => Header(w =>
    {
        w.Move(w.Header[Last]!["data_offsets"]![0]!.GetValue<long>(), 4);
        w.Data = [.. w.Data, 0, 0, 0, 0];
    })(folder);

    public static void AddMany(SafetensorsFile weights, int count)
    {
        for (int i = 0; i < count; i++)
        {
            weights.Add($"t{i}", "U8", [0], 0, 0);
        }
    }

    public static Action<TemporaryFolder> AddEmpty(string name, params long[] shape) =>
        Header(w => w.Add(name, "F32", shape, 0, 0));

    public static Action<TemporaryFolder> Shape(string tensor, params long[] shape) =>
        Header(w => w.Header[tensor]!["shape"] = new JsonArray([.. shape.Select(n => JsonValue.Create(n))]));

    public static Action<TemporaryFolder> Type(string tensor, string type) => Header(w => w.Header[tensor]!["dtype"] = type);

    public static Action<TemporaryFolder> Rename(string tensor) => Header(w =>
    {
        JsonNode entry = w.Header[tensor]!;
        w.Header.Remove(tensor);
        w.Header["x"] = entry;
    });

    public static Action<TemporaryFolder> Offsets(string tensor, Func<long, long, long[]> offsets) => Header(w =>
    {
        JsonNode entry = w.Header[tensor]!;
        long[] changed = offsets(entry["data_offsets"]![0]!.GetValue<long>(), entry["data_offsets"]![1]!.GetValue<long>());
        entry["data_offsets"] = new JsonArray([.. changed.Select(n => JsonValue.Create(n))]);
    });

    public static IEnumerable<KeyValuePair<string, JsonNode?>> Texts(int count) =>
        Enumerable.Range(0, count).Select(i => KeyValuePair.Create($"{i}", (JsonNode?)JsonValue.Create("")));

    /// <summary>Sets all elements of an F32 tensor to one value.</summary>
    public static Action<TemporaryFolder> Fill(string file, string tensor, float value) => Header(
        w =>
        {
            long[] offsets = [.. w.Header[tensor]!["data_offsets"]!.AsArray().Select(offset => offset!.GetValue<long>())];
            for (int i = 0; i < (offsets[1] - offsets[0]) / sizeof(float); i++)
            {
                w.Poke(tensor, i, BitConverter.GetBytes(value));
            }
        },
        file);

    public static Action<TemporaryFolder> Poke(string file, string tensor, int element, byte[] bytes) =>
        Header(w => w.Poke(tensor, element, bytes), file);
}

/// <summary>Provides operations of Unix that .NET lacks.</summary>
internal static class Unix
{
    public static void MakeFifo(string path)
    {
        using Process process = Process.Start("mkfifo", [path]);
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero);
    }
}
