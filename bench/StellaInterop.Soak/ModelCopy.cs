using System.Buffers.Binary;
using System.Text.Json.Nodes;
using StellaInterop.ModelFiles;

namespace StellaInterop.Soak;

/// <summary>A copy of a model folder without its manifest, to be changed. Deletes the copy when disposed.</summary>
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

    /// <summary>Gives the prompts so many words each.</summary>
    public void LengthenPrompts(int words)
    {
        string[] some = ["find", "every", "passage", "about", "the", "river", "and", "its", "bridges"];
        string file = PathInCopy(Configuration);
        JsonNode configuration = JsonNode.Parse(File.ReadAllText(file))!;
        JsonObject prompts = configuration["prompts"]!.AsObject();
        foreach (string name in prompts.Select(pair => pair.Key).ToArray())
        {
            prompts[name] = $"{name}: {string.Join(' ', Enumerable.Range(0, words).Select(i => some[i % some.Length]))}: ";
        }

        File.WriteAllText(file, configuration.ToJsonString());
    }

    /// <summary>Puts other weights of the same shape in the place of the folder's: each file is written beside and renamed over.</summary>
    /// <param name="generation">Weights of the same number are equal; those of 0 are the source's.</param>
    public void Replace(int generation)
    {
        foreach (string file in Directory.EnumerateFiles(source, Weights, SearchOption.AllDirectories))
        {
            byte[] bytes = File.ReadAllBytes(file);
            if (generation > 0)
            {
                Perturb(bytes, generation);
            }

            string place = PathInCopy(System.IO.Path.GetRelativePath(source, file));
            File.WriteAllBytes(place + ".new", bytes);
            File.Move(place + ".new", place, overwrite: true);
        }
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);

    /// <summary>Flips the sign of some numbers of each tensor; all stay finite.</summary>
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
