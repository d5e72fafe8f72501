using System.Text;
using System.Text.Json.Nodes;
using StellaInterop.ModelFiles;
using static StellaInterop.Tests.FolderEdits;

namespace StellaInterop.Tests;

/// <summary>Provides invalid and unusual model folders, each a fixture with one change.</summary>
internal static class HostileFolders
{
    /// <summary>Gets folders whose <see cref="Weights"/> have an invalid header.</summary>
    public static IEnumerable<HostileFolder> Headers { get; } =
    [
        new(
            "a pointer of Git LFS instead of weights",
            Put(Weights, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"u8), Weights, "Git LFS pointer"),
        new("empty weights", Put(Weights, []), Weights, "0 bytes"),
        new("weights of seven bytes", folder => Truncate(folder, Weights, 7), Weights, "7 bytes"),
        new("weights of eight bytes", folder => Truncate(folder, Weights, 8), Weights, "claims a header of 3824 bytes"),
        new("data shortened by 1000 bytes", folder => Truncate(folder, Weights, -1000), Weights, "offsets", "bytes of data"),
        new("a byte after the data", Append(Weights, " "), Weights, "offsets", "bytes of data"),
        new("header length 0", Length(0), Weights, "not a valid safetensors header"),
        new("header length 2^64-1", Length(ulong.MaxValue), Weights, "claims a header of 18446744073709551615 bytes"),
        new("header length 2^63", Length(1UL << 63), Weights, "claims a header of 9223372036854775808 bytes"),
        new(
            "header length a byte beyond the file",
            folder => Length((ulong)new FileInfo(folder.File(Weights)).Length - 7)(folder), Weights, "claims a header"),
        new("header of 80 MB in a file that has them", LongHeader, Weights, "claims a header of 80000000 bytes", "at most"),
        new("header that is plain text", Raw("{this is no JSON at all}"), Weights, "not a valid safetensors header"),
        new("header that is not UTF-8", NotUtf8, Weights, "not a valid safetensors header"),
        new("header that is an array", Text(h => $"[{h}]"), Weights, "begins with byte 0x5b"),
        new("header that is null", Raw("null"), Weights, "begins with byte"),
        new("header that begins with spaces", Text(h => $"   {h}"), Weights, "begins with byte 0x20"),
        new("header that begins with a BOM", Text(h => $"\uFEFF{h}"), Weights, "header"),
        new("header padded with NUL", Text(h => $"{h}\0\0\0\0\0\0\0\0"), Weights, "not a valid safetensors header"),
        new("text after the header object", Text(h => $"{h}{{}}"), Weights, "not a valid safetensors header"),
        new(
            "a name twice",
            Text(h => $"{h[..^1]},\"{Last}\":{{\"dtype\":\"F32\",\"shape\":[64],\"data_offsets\":[0,256]}}}}"),
            Weights, "duplicate", Last),
        new(
            "a name twice, once escaped",
            Text(h => $"{h[..^1]},\"\\u006e{Last[1..]}\":{{\"dtype\":\"F32\",\"shape\":[64],\"data_offsets\":[0,256]}}}}"),
            Weights, "duplicate", Last),
        new("__metadata__ twice", Text(h => $"{h[..^1]},\"__metadata__\":{{}}}}"), Weights, "duplicate"),
        new(
            "a key of __metadata__ twice",
            Text(h => h.Replace("{\"format\":", "{\"format\":\"tf\",\"format\":", StringComparison.Ordinal)),
            Weights, "duplicate", "format"),
        new(
            "a field twice",
            Text(h => h.Replace($"\"{Last}\":{{", $"\"{Last}\":{{\"dtype\":\"F16\",", StringComparison.Ordinal)),
            Weights, "duplicate", Last),
        new("__metadata__ that is null", Header(w => w.Header["__metadata__"] = null), Weights, "__metadata__"),
        new(
            "__metadata__ with a number",
            Header(w => w.Header["__metadata__"] = new JsonObject { ["format"] = 1 }), Weights, "not a valid safetensors header"),
        new(
            "a hundred thousand texts in __metadata__",
            Header(w => w.Header["__metadata__"] = new JsonObject(Texts(100_000))), Weights, "more than 1000 entries"),
        new("an unknown field", Header(w => w.Header[Last]!["crc"] = 1), Weights, "unknown field", "crc"),
        new(
            "a tensor that is an array",
            Header(w => w.Header[Last] = new JsonArray("F32", new JsonArray(64), new JsonArray(0, 256))), Weights, Last),
        new("tensors that overlap", Offsets(Output, (b, e) => [b - 4096, e - 4096]), Weights, "overlap"),
        new("an offset range with its end before its start", Offsets(Output, (b, e) => [e, b]), Weights, "data_offsets"),
        new(
            "a tensor beyond the end of the file",
            Offsets(Last, (b, e) => [b + 1_000_000, e + 1_000_000]), Weights, "data_offsets"),
        new("a gap between tensors", AddGap, Weights, "without hole"),
        new(
            "a gap before the first tensor",
            Header(w => { w.Move(0, 4); w.Data = [0, 0, 0, 0, .. w.Data]; }), Weights, "without hole"),
        new("three offsets", Offsets(Last, (b, e) => [b, e, e]), Weights, "not a valid safetensors header"),
        new("a negative offset", Offsets(Last, (b, e) => [-1, e]), Weights, "not a valid safetensors header"),
        new(
            "a fractional offset",
            Text(h => h.Replace("\"data_offsets\":[0,", "\"data_offsets\":[0.0,", StringComparison.Ordinal)),
            Weights, "not a valid safetensors header"),
        new(
            "an offset beyond 64 bits",
            Text(h => h.Replace("\"data_offsets\":[0,", "\"data_offsets\":[18446744073709551616,", StringComparison.Ordinal)),
            Weights, "not a valid safetensors header"),
        new("a shape whose size does not fit 64 bits", Shape(Last, 4194305, 4194305, 211106198978564), Weights, Last, "64 bits"),
        new("a shape whose size fits 64 bits only because of a zero", AddEmpty("zero", 0, 1L << 47, 1L << 47), Weights, "zero", "64 bits"),
        new("a shape of another size than its bytes", Shape(Last, 65), Weights, Last, "260 by its shape"),
        new("nine dimensions", Shape(Last, 64, 1, 1, 1, 1, 1, 1, 1, 1), Weights, Last, "9 dimensions"),
        new("a dimension of 2^48", AddEmpty("wide", 1L << 48, 0), Weights, "wide", "2^48"),
        new("an unknown type", Type(Last, "F33"), Weights, "not a valid safetensors header"),
        new("a type in lower case", Type(Last, "f32"), Weights, "not a valid safetensors header"),
        new(
            "tensors at unaligned offsets",
            Header(w => { w.Move(0, 1); w.Data = [0, .. w.Data]; w.Add("first", "U8", [1], 0, 1); }),
            Weights, "not a multiple of the element size, 4 bytes"),
        new("a header nested 200 deep", Raw(Nested("{\"a\":", "1", "}", 200)), Weights, "unknown field"),
        new("a header nested 100,000 deep", Raw(Nested("{\"a\":", "1", "}", 100_000)), Weights, "unknown field"),
        new("a header of arrays 100,000 deep", Raw(Nested("{\"a\":", Nested("[", "", "]", 100_000), "}", 1)), Weights, "\"a\""),
        new("10,001 tensors", Header(w => AddMany(w, 10_001)), Weights, "more than 10000 tensors"),
        new("a header of 16 MB full of tensors", Header(w => AddMany(w, 200_000)), Weights, "more than 10000 tensors"),
        new(
            "a shape of two million numbers",
            Header(w => w.Add("a", "U8", [.. Enumerable.Repeat(0L, 2_000_000)], 0, 0)), Weights, "dimensions"),
    ];

    /// <summary>Gets folders with a valid header whose tensors do not match the configuration or have invalid values.</summary>
    public static IEnumerable<HostileFolder> Tensors { get; } =
    [
        new("a transposed matrix", Shape(Qkv, 64, 192), Weights, "qkv_proj", "shape [64, 192]"),
        new(
            "a matrix of I64",
            Header(w => { w.Header[Output]!["dtype"] = "I64"; w.Header[Output]!["shape"] = new JsonArray(64, 32); }),
            Weights, "o_proj", "shape"),
        new("a matrix of U32 with the right shape", Type(Output, "U32"), Weights, "o_proj", "dtype U32"),
        new("a tensor that is missing", Rename(Down), Weights, Down, "is missing"),
        new("a NaN", Poke(Weights, Qkv, 777, BitConverter.GetBytes(float.NaN)), Weights, Qkv, "NaN", "finite"),
        new(
            "an infinity",
            Poke(Weights, Down, 5, BitConverter.GetBytes(float.NegativeInfinity)), Weights, Down, "-inf", "finite"),
        new(
            "a NaN of 16 bits",
            Poke(Weights, Qkv, 777, BitConverter.GetBytes(Half.NaN)), Weights, Qkv, "NaN", "finite") { Model = "tiny-new-f16" },
        new(
            "an infinity in bfloat16",
            Poke(Weights, "model.embed_tokens.weight", 3, [0x80, 0x7f]), Weights, "inf", "finite") { Model = "tiny-qwen2-bf16" },
        new(
            "a NaN in a head",
            Poke(HeadWeights, "linear.weight", 9, BitConverter.GetBytes(float.NaN)), HeadWeights, "NaN", "finite"),
        new("a head of zeros", Zeros(HeadWeights, ("linear.bias", [1024]), ("linear.weight", [1024, 64])), "text 0 is zero"),
        new("a head so large that it overflows", Fill(HeadWeights, "linear.weight", 3e38f), "text 0 is not finite"),
        new("a truncated head", folder => Truncate(folder, HeadWeights, -4), HeadWeights, "bytes of data"),
        new(
            "a head of another width",
            Zeros(HeadWeights, ("linear.bias", [1024]), ("linear.weight", [1024, 63])),
            HeadWeights, "linear.weight", "[1024, 63]"),
        new(
            "a head without its bias",
            Zeros(HeadWeights, ("linear.weight", [1024, 64])), HeadWeights, "linear.bias", "is missing"),
        new(
            "a vocabulary larger than its table",
            Set(Config, "vocab_size", 2_000_000), Weights, "word_embeddings", "[2000000, 64]"),
        new("more layers than the file has", Set(Config, "num_hidden_layers", 4), Weights, "layer.3", "missing"),
        new("another intermediate size", Set(Config, "intermediate_size", 96), Weights, "up_gate_proj", "[192, 64]"),
    ];

    /// <summary>Gets folders with invalid or unsupported settings in JSON files.</summary>
    public static IEnumerable<HostileFolder> Settings { get; } =
    [
        new("an empty config.json", Put(Config, []), Config, "not the JSON"),
        new("a config.json of zeros", Put(Config, new byte[1000]), Config, "not the JSON"),
        new("a config.json that ends early", folder => Truncate(folder, Config, -10), Config, "not the JSON"),
        new("a config.json of 1 TB", folder => Resize(folder, Config, 1L << 40), Config, "1099511627776 bytes"),
        new("a setting twice", InsertFirst(Config, "\"hidden_size\":32,"), Config, "listed twice", "hidden_size"),
        new("hidden size over five heads", Set(Config, "num_attention_heads", 5), Config, "num_attention_heads, which is 5"),
        new("a negative number of heads", Set(Config, "num_attention_heads", -4), Config, "num_attention_heads is -4"),
        new("no heads", Set(Config, "num_attention_heads", 0), Config, "num_attention_heads is 0"),
        new("heads of an odd width", Set(Config, "num_attention_heads", 64), Config, "even width"),
        new("a fractional size", Set(Config, "hidden_size", 64.5), Config, "hidden_size is 64.5"),
        new("a size as a string", Set(Config, "hidden_size", "64"), Config, "hidden_size is \"64\""),
        new("a size of 2^63", Set(Config, "vocab_size", 9223372036854775808), Config, "vocab_size is 9223372036854775808"),
        new("a size of 2^62", Set(Config, "vocab_size", 1L << 62), Config, "vocab_size is 4611686018427387904"),
        new("a size that is missing", Set(Config, "hidden_size", null), Config, "hidden_size is missing"),
        new("an epsilon that overflows", folder => folder.Edit(Config, "1e-12", "1e999"), Config, "not the JSON"),
        new("an epsilon of zero", folder => folder.Edit(Config, "1e-12", "0.0"), Config, "layer_norm_eps is 0"),
        new("a rotary base below zero", Set(Config, "rope_theta", -1), Config, "rope_theta is -1"),
        new("another architecture", folder => folder.Edit(Config, "\"NewModel\"", "\"T5\""), Config, "T5", "Supported: "),
        new("another activation", Set(Config, "hidden_act", "relu"), Config, "relu", "Supported: "),
        new("another rotary scaling", folder => folder.Edit(Config, "\"ntk\"", "\"yarn\""), Config, "yarn", "Supported: "),
        new("causal attention", Set(Config, "is_causal", true), Config, "is_causal") { Model = "tiny-qwen2" },
        new(
            "a number of key-value heads that does not divide the heads",
            Set(Config, "num_key_value_heads", 4), Config, "num_key_value_heads, which is 4") { Model = "tiny-qwen2" },
        new("no modules", Put(Modules, "[]"u8), Modules, "no Pooling module"),
        new("modules that are not a list", Put(Modules, "{}"u8), Modules, "not the JSON"),
        new(
            "a module outside of the folder",
            folder => folder.Edit(Modules, Head, "../2_Dense_1024"), Modules, "inside the model folder"),
        new("a module at the root", folder => folder.Edit(Modules, Head, "/etc"), Modules, "inside the model folder"),
        new("a missing module", folder => folder.Edit(Modules, Head, "2_Dense_512"), "2_Dense_512", "is missing"),
        new("an unknown module", folder => folder.Edit(Modules, "models.Dense", "models.LSTM"), Modules, "LSTM"),
        new(
            "pooling of the first token",
            folder => folder.Edit(Pooling, "_cls_token\": false", "_cls_token\": true"), Pooling, "cls and mean"),
        new("no pooling", folder => folder.Edit(Pooling, "_mean_tokens\": true", "_mean_tokens\": false"), Pooling, "every flag is false"),
        new("a head for another hidden size", Set(HeadConfig, "in_features", 65), HeadConfig, "in_features is 65"),
        new("a head with a negative dimension", Set(HeadConfig, "out_features", -1), HeadConfig, "out_features is -1"),
        new("a head with dimension 0", Set(HeadConfig, "out_features", 0), HeadConfig, "out_features is 0"),
        new("a head with dimension 2^60", Set(HeadConfig, "out_features", 1L << 60), HeadConfig, "out_features is 1152921504606846976"),
        new(
            "a head with an activation",
            folder => folder.Edit(HeadConfig, "linear.Identity", "activation.Tanh"), HeadConfig, "Tanh"),
        new("a prompt that is not a string", Put(Prompts, "{\"prompts\":{\"s2p_query\":1}}"u8), Prompts, "prompts.s2p_query is 1"),
        new("no tokenizer in tokenizer.json", Put(Tokenizer, "{}"u8), Tokenizer),
        new("an empty tokenizer.json", Put(Tokenizer, []), Tokenizer),
        new("half a tokenizer.json", folder => Truncate(folder, Tokenizer, -9000), Tokenizer, "EOF"),
        new(
            "a word outside the table",
            Edit(Tokenizer, json => json["model"]!["vocab"]!["river"] = 5000), Tokenizer, "5000", "1216"),
        new(
            "a word with the id 2^32-1",
            Edit(Tokenizer, json => json["model"]!["vocab"]!["river"] = uint.MaxValue), Tokenizer, "4294967295"),
        new("a word with an id below zero", Edit(Tokenizer, json => json["model"]!["vocab"]!["river"] = -1), Tokenizer, "-1"),
        new(
            "a special token outside the table",
            folder => folder.Edit(Tokenizer, "\"ids\": [\n          2\n        ]", "\"ids\": [99999]"), Tokenizer, "99999"),
        new(
            "an added token with the id of another",
            Edit(Tokenizer, json => json["added_tokens"]![0]!["id"] = 7), Tokenizer, "added token", "has id 7"),
        new(
            "a merge of unknown tokens",
            Edit(Tokenizer, json => json["model"]!["merges"]!.AsArray().Add("qqq zzz")),
            Tokenizer, "qqq") { Model = "tiny-qwen2" },
        new("an invalid pattern", Pattern("(["), Tokenizer),
        new("a pattern nested 100,000 deep", Pattern(Nested("(", "a", ")", 100_000)), Tokenizer, "nested"),
        new("a pattern of look-aheads 20,000 deep", Pattern(Nested("(?=", "a", ")", 20_000)), Tokenizer, "nested"),
        new("a pattern with a billion states", Pattern("((a{1000}){1000}){1000}"), Tokenizer, "regex"),
        .. Deep("config.json", 200), .. Deep("config.json", 100_000),
        .. Deep(Tokenizer, 200), .. Deep(Tokenizer, 100_000),
        .. Deep(Modules, 200), .. Deep(Modules, 100_000),
        .. Deep(Manifest, 200), .. Deep(Manifest, 100_000),
        .. Deep(Pooling, 100_000),
    ];

    /// <summary>Gets folders with missing files, invalid shards or invalid manifests.</summary>
    public static IEnumerable<HostileFolder> Files { get; } =
    [
        new("no config.json", Remove(Config), Config, "is missing"),
        new("no tokenizer.json", Remove(Tokenizer), Tokenizer, "is missing"),
        new("no head", folder => Directory.Delete(folder.File(Head), recursive: true), HeadConfig, "is missing"),
        new(
            "weights that are a folder",
            folder => { Remove(Weights)(folder); Directory.CreateDirectory(folder.File(Weights)); },
            Weights, "is a folder"),
        new(
            "a config.json that is a folder",
            folder => { Remove(Config)(folder); Directory.CreateDirectory(folder.File(Config)); }, Config, "is a folder"),
        Sharded("a shard outside of the folder", "../model-00002-of-00002.safetensors", "inside the model folder"),
        Sharded("a shard at the root", "/etc/passwd", "inside the model folder"),
        Sharded("a shard in a folder", "2_Dense_256/model.safetensors", "inside the model folder"),
        Sharded("a shard that is the folder", ".", "inside the model folder"),
        Sharded("a shard without a name", "", "inside the model folder"),
        Sharded("a shard with another tensor", "model-00001-of-00002.safetensors", "does not contain it"),
        new(
            "a missing shard",
            Remove(Shard),
            Shard, "is missing") { Model = "tiny-qwen2-sharded" },
        new(
            "a truncated shard",
            folder => Truncate(folder, Shard, -8),
            Shard, "bytes of data") { Model = "tiny-qwen2-sharded" },
        new("an index that is not JSON", Put(ShardIndex, "weight_map"u8), ShardIndex, "not the JSON") { Model = "tiny-qwen2-sharded" },
        new("an index without a map", Put(ShardIndex, "{}"u8), ShardIndex, "weight_map") { Model = "tiny-qwen2-sharded" },
        new(
            "an index nested 100,000 deep",
            Put(ShardIndex, Encoding.UTF8.GetBytes(Nested("{\"weight_map\":", "1", "}", 100_000))),
            ShardIndex) { Model = "tiny-qwen2-sharded" },
        new("an index of 100,000 shards", Put(ShardIndex, ManyShards()), "s0", "is missing") { Model = "tiny-qwen2-sharded" },
        new("a manifest of another version", Put(Manifest, "{\"version\":3,\"files\":{}}"u8), Manifest, "version 3"),
        new("a manifest without the files", Put(Manifest, "{\"version\":1,\"files\":{}}"u8), Config, "not listed"),
        new("a manifest with another size", Put(Manifest, Encoding.UTF8.GetBytes(ManifestOf(1, 64))), Config, "lists 1 bytes"),
        new(
            "a manifest with half a hash",
            Put(Manifest, "{\"version\":1,\"files\":{\"config.json\":{\"size\":1,\"sha256\":\"ab\"}}}"u8), Manifest, "64"),
    ];

    /// <summary>Gets folders with pipes, devices or symbolic links.</summary>
    public static IEnumerable<HostileFolder> UnixFiles { get; } =
    [
        .. new[] { Config, Tokenizer, Modules, Weights, HeadWeights }.SelectMany(file => new HostileFolder[]
        {
            new(
                $"{file} that is a FIFO",
                folder => { Remove(file)(folder); Unix.MakeFifo(folder.File(file)); }, file, "not a regular file"),
            new($"{file} that is /dev/zero", Link(file, "/dev/zero"), file, "leads out"),
        }),
        new("weights that are the memory of the process", Link(Weights, "/proc/self/mem"), Weights, "leads out"),
        new(
            "a link to weights outside of the folder",
            folder => Link(Weights, Path.Combine(Fixtures.Model("tiny-new"), Weights))(folder), Weights, "leads out"),
        new(
            "a link to a tokenizer.json outside of the folder",
            folder => Link(Tokenizer, Path.GetRelativePath(folder.Path, Path.Combine(Fixtures.Model("tiny-new"), Tokenizer)))(folder),
            Tokenizer, "leads out"),
        new(
            "a link to a head outside of the folder",
            folder =>
            {
                Directory.Delete(folder.File(Head), recursive: true);
                Directory.CreateSymbolicLink(folder.File(Head), Path.Combine(Fixtures.Model("tiny-new"), Head));
            },
            HeadConfig, "leads out"),
        new(
            "a link to a shard outside of the folder",
            folder => Link(Shard, Path.Combine(Fixtures.Model("tiny-qwen2-sharded"), Shard))(folder),
            Shard, "leads out") { Model = "tiny-qwen2-sharded" },
        new("a link to itself", Link(Config, Config), Config, "cannot be read"),
        new("a broken link", Link(Weights, "nowhere"), Weights, "is missing"),
        new(
            "a link to a manifest outside of the folder",
            folder => Link(Manifest, Path.Combine(Fixtures.Model("tiny-new"), Config))(folder), Manifest, "leads out"),
        new("a manifest that is a broken link", folder => File.CreateSymbolicLink(folder.File(Manifest), "nowhere"), Manifest),
    ];

    /// <summary>Gets folders that are unusual but valid.</summary>
    public static IEnumerable<HostileFolder> Valid { get; } =
    [
        new("a header padded with 4096 spaces", Text(h => h + new string(' ', 4096))) { Outcome = Outcome.Loaded },
        new(
            "an unused tensor",
            Header(w => w.Add("new.embeddings.position_ids", "I64", [1, 4], w.Data.Length, w.Data.Length + 32)))
        {
            Outcome = Outcome.Loaded,
        },
        new(
            "an unused empty tensor",
            Header(w => w.Add("none", "F32", [0], w.Data.Length, w.Data.Length)))
        {
            Outcome = Outcome.Loaded,
        },
        new("empty __metadata__", Header(w => w.Header["__metadata__"] = new JsonObject())) { Outcome = Outcome.Loaded },
        new("no __metadata__", Header(w => w.Header.Remove("__metadata__"))) { Outcome = Outcome.Loaded },
        new("an unused setting", Set(Config, "colour", "red")) { Outcome = Outcome.Loaded },
        new(
            "a tokenizer.json that pads to 10^12",
            Edit(Tokenizer, json => json["padding"]!["strategy"]!["Fixed"] = 1_000_000_000_000))
        {
            Outcome = Outcome.Loaded,
        },
        new(
            "an unused setting nested 100,000 deep",
            InsertFirst(Config, $"\"colour\":{Nested("[", "", "]", 100_000)},"))
        {
            Outcome = Outcome.Either, ExpectedTexts = [Config],
        },
        new(
            "an unused setting of a head nested 100,000 deep",
            InsertFirst(HeadConfig, $"\"colour\":{Nested("{\"a\":", "1", "}", 100_000)},"))
        {
            Outcome = Outcome.Either, ExpectedTexts = [HeadConfig],
        },
        new("weights of 16 bits", _ => { }) { Model = "tiny-new-f16", Outcome = Outcome.Loaded },
        new("weights in bfloat16", _ => { }) { Model = "tiny-qwen2-bf16", Outcome = Outcome.Loaded },
        new("shards", _ => { }) { Model = "tiny-qwen2-sharded", Outcome = Outcome.Loaded },
        new("a manifest", folder => StellaManifest.Create(folder.Path).Save(folder.File(Manifest))) { Outcome = Outcome.Loaded },
    ];

    /// <summary>Gets folders that once needed gigabytes, crashed the process, or were read differently by two readers.</summary>
    public static IEnumerable<HostileFolder> Regressions { get; } =
    [
        new("two million layers", Set(Config, "num_hidden_layers", 2_000_000), Config, "num_hidden_layers"),
        new("a rotary factor of 10^6", folder => folder.Edit(Config, "\"factor\": 2.0", "\"factor\": 1e6"), Config, "factor"),
        new("a normalizer that expands one character to 10^15", Set(Tokenizer, "normalizer", ExpandingNormalizer()), Tokenizer),
        new("an invalid character map", PrecompiledNormalizer("AAAAgAAAAAD/////"), Tokenizer),
        new("a JSON file of 60 MB", Put(Pooling, Encoding.UTF8.GetBytes($"{{\"a\":[{string.Join(',', Enumerable.Repeat(0, 30_000_000))}]}}")), Pooling),

        new("an empty character map", PrecompiledNormalizer(""), Tokenizer),
        new("a template with missing special tokens", Edit(Tokenizer, json => json["post_processor"]!["special_tokens"] = new JsonObject()), Tokenizer),
        new("a subword prefix that no token has", Edit(Tokenizer, json => json["model"]!["continuing_subword_prefix"] = "##"), Tokenizer) { Model = "tiny-qwen2" },

        // Of two equal keys, some JSON readers use the first and others the last.
        new("a manifest that lists a file twice", folder =>
        {
            StellaManifest.Create(folder.Path).Save(folder.File(Manifest));
            folder.Edit(Manifest, "\"files\": {", $"\"files\": {{ \"config.json\": {{ \"size\": 1, \"sha256\": \"{new string('a', 64)}\" }},");
        }, Manifest, "config.json"),
        new("a pooling flag twice", InsertFirst(Pooling, "\"pooling_mode_mean_tokens\":false,"), Pooling, "pooling_mode_mean_tokens"),
        new("a tensor twice in an index", folder => folder.Edit(ShardIndex, "\"weight_map\": {", $"\"weight_map\": {{ \"model.norm.weight\": \"../x\","), ShardIndex, "model.norm.weight") { Model = "tiny-qwen2-sharded" },

        // A manifest that exists but cannot be read must not be ignored.
        new("a manifest that is a folder", folder => Directory.CreateDirectory(folder.File(Manifest)), Manifest),

        new("an index without tensors", Edit(ShardIndex, json => json["weight_map"] = new JsonObject()), ShardIndex) { Model = "tiny-qwen2-sharded" },
        new("a rotary base of almost zero", folder => folder.Edit(Config, "160000", "1e-320"), Config, "rope_theta"),
        new("a tokenizer without words", Edit(Tokenizer, json => json["model"]!["vocab"] = new JsonObject()), Tokenizer),
    ];

    /// <summary>Widens the fixture to a hidden size of 2^17 and returns the size of the tensors in bytes.</summary>
    public static long Enlarge(TemporaryFolder folder)
    {
        const long Wide = 1 << 17;
        const long Rows = (1 << 21) - 1;
        long Scale(long n) => n == 1216 ? Rows : n % 64 == 0 ? n / 64 * Wide : n;
        Edit(Pooling, json => json["word_embedding_dimension"] = Wide)(folder);
        Edit(Config, json => (json["hidden_size"], json["vocab_size"], json["intermediate_size"]) = (Wide, Rows, 2 * Wide))(folder);
        Edit(HeadConfig, json => json["in_features"] = Wide)(folder);
        Directory.Delete(folder.File("2_Dense_256"), recursive: true);
        Directory.Delete(folder.File("2_Dense_768"), recursive: true);
        Widen(HeadWeights, shape => shape.Length == 2 ? [shape[0], Wide] : shape);
        return Widen(Weights, shape => [.. shape.Select(Scale)]);

        long Widen(string file, Func<long[], long[]> widen)
        {
            SafetensorsFile weights = SafetensorsFile.Read(folder.File(file));
            long end = 0;
            foreach (var (name, tensor) in weights.Header.Where(tensor => tensor.Key != "__metadata__").ToArray())
            {
                long[] shape = widen([.. tensor!["shape"]!.AsArray().Select(n => n!.GetValue<long>())]);
                long begin = end;
                end += 4 * shape.Aggregate((a, b) => a * b);
                tensor["shape"] = new JsonArray([.. shape.Select(n => JsonValue.Create(n))]);
                tensor["data_offsets"] = new JsonArray(begin, end);
            }

            weights.Data = [];
            weights.Write();
            Resize(folder, file, new FileInfo(folder.File(file)).Length + end);
            return end;
        }
    }

    /// <summary>Creates folders in which a file is deeply nested arrays or objects.</summary>
    private static IEnumerable<HostileFolder> Deep(string file, int depth) =>
    [
        new($"{file} of arrays {depth} deep", Put(file, Encoding.UTF8.GetBytes(Nested("[", "", "]", depth))), file),
        new($"{file} of objects {depth} deep", Put(file, Encoding.UTF8.GetBytes(Nested("{\"model\":", "1", "}", depth))), file),
    ];

    private static HostileFolder Sharded(string name, string shard, string says) =>
        new(name, Edit(ShardIndex, json => json["weight_map"]!["model.norm.weight"] = shard), ShardIndex, says)
        {
            Model = "tiny-qwen2-sharded",
        };
}
