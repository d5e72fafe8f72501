using System.Buffers.Binary;
using System.Text.Json.Nodes;
using StellaInterop.ModelFiles;

namespace StellaInterop.Soak.FaultInjection;

/// <summary>A copy of a model folder without its manifest, which scenarios change. Dispose deletes it.</summary>
internal sealed class ModelCopy : IDisposable
{
    private const string Weights = "*.safetensors";
    private const string Configuration = "config_sentence_transformers.json";

    private readonly string source;

    public ModelCopy(string source)
    {
        this.source = source;
        Path = Directory.CreateTempSubdirectory("stella-soak-").FullName;
        foreach (string file in Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories))
        {
            string name = System.IO.Path.GetRelativePath(source, file);
            if (name != StellaManifest.FileName)
            {
                _ = Directory.CreateDirectory(System.IO.Path.GetDirectoryName(PathInCopy(name))!);
                File.Copy(file, PathInCopy(name));
            }
        }
    }

    public string Path { get; }

    /// <summary>Replaces every prompt with one of the given number of words.</summary>
    public void LengthenPrompts(int words)
    {
        string[] vocabulary = ["find", "every", "passage", "about", "the", "river", "and", "its", "bridges"];
        string file = PathInCopy(Configuration);
        JsonNode configuration = JsonNode.Parse(File.ReadAllText(file))!;
        JsonObject prompts = configuration["prompts"]!.AsObject();
        foreach (string name in prompts.Select(pair => pair.Key).ToArray())
        {
            prompts[name] = $"{name}: {string.Join(' ', Enumerable.Range(0, words).Select(i => vocabulary[i % vocabulary.Length]))}: ";
        }

        File.WriteAllText(file, configuration.ToJsonString());
    }

    /// <summary>Replaces the weights of the folder with others of the same shape. Each file is written under a temporary name and renamed.</summary>
    /// <param name="generation">Number of the weights. Equal numbers have equal weights, and 0 is the original.</param>
    public void Replace(int generation)
    {
        foreach (string file in Directory.EnumerateFiles(source, Weights, SearchOption.AllDirectories))
        {
            byte[] bytes = File.ReadAllBytes(file);
            if (generation > 0)
            {
                Perturb(bytes, generation);
            }

            string target = PathInCopy(System.IO.Path.GetRelativePath(source, file));
            File.WriteAllBytes(target + ".new", bytes);
            File.Move(target + ".new", target, overwrite: true);
        }
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    /// <summary>Flips the sign of some elements of each tensor. All of them stay finite.</summary>
    private static void Perturb(byte[] file, int generation)
    {
        const int LengthBytes = sizeof(ulong);
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        JsonObject tensors = JsonNode.Parse(file.AsSpan(LengthBytes, header))!.AsObject();
        foreach (JsonNode tensor in tensors.Where(pair => pair.Key != "__metadata__").Select(pair => pair.Value!))
        {
            int size = (string)tensor["dtype"]! == "F32" ? sizeof(float) : sizeof(ushort);
            int begin = LengthBytes + header + (int)tensor["data_offsets"]![0]!;
            int end = LengthBytes + header + (int)tensor["data_offsets"]![1]!;
            for (int sign = begin + (generation * size) - 1; sign < end; sign += 7 * size)
            {
                file[sign] ^= 0x80;
            }
        }
    }

    private string PathInCopy(string name) => System.IO.Path.Combine(Path, name);
}
