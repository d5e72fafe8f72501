using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;

namespace StellaInterop.Tests;

/// <summary>The header and the data of a safetensors file, which tests change to build invalid files.</summary>
internal sealed class SafetensorsFile
{
    private const string Metadata = "__metadata__";

    private readonly string path;

    private SafetensorsFile(string path, JsonObject header, byte[] data) => (this.path, Header, Data) = (path, header, data);

    /// <summary>The JSON header.</summary>
    public JsonObject Header { get; }

    /// <summary>The data after the header.</summary>
    public byte[] Data { get; set; }

    public static SafetensorsFile Read(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        return new(path, JsonNode.Parse(file.AsSpan(8, length))!.AsObject(), file[(8 + length)..]);
    }

    /// <summary>Overwrites the file with the current header and data.</summary>
    public void Write() => Write(Encoding.UTF8.GetBytes(Header.ToJsonString()));

    /// <summary>Overwrites the file with the bytes of a header, and with a header length that may differ from theirs.</summary>
    public void Write(byte[] header, ulong? length = null)
    {
        byte[] front = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(front, length ?? (ulong)header.Length);
        File.WriteAllBytes(path, [.. front, .. header, .. Data]);
    }

    /// <summary>Edits the text of the header and writes the file. Fails if the edit changes nothing.</summary>
    public void WriteText(Func<string, string> edit)
    {
        string text = Header.ToJsonString();
        string edited = edit(text);
        Assert.That(edited, Is.Not.EqualTo(text));
        Write(Encoding.UTF8.GetBytes(edited));
    }

    /// <summary>Adds a tensor to the header. If it begins at the end of the data, appends zeros for it.</summary>
    public void Add(string name, string type, long[] shape, long begin, long end)
    {
        Header[name] = new JsonObject
        {
            ["dtype"] = type,
            ["shape"] = new JsonArray([.. shape.Select(n => JsonValue.Create(n))]),
            ["data_offsets"] = new JsonArray(begin, end),
        };
        if (begin == Data.Length)
        {
            Data = [.. Data, .. new byte[end - begin]];
        }
    }

    /// <summary>Moves the tensors that begin at <paramref name="from"/> or later.</summary>
    public void Move(long from, long by)
    {
        foreach (string name in Header.Select(tensor => tensor.Key).Where(name => name != Metadata))
        {
            long[] offsets = [.. Header[name]!["data_offsets"]!.AsArray().Select(offset => offset!.GetValue<long>())];
            if (offsets[0] >= from)
            {
                Header[name]!["data_offsets"] = new JsonArray(offsets[0] + by, offsets[1] + by);
            }
        }
    }

    /// <summary>Overwrites bytes of a tensor, beginning at its element <paramref name="element"/>.</summary>
    public void Poke(string name, int element, params byte[] bytes)
    {
        long begin = Header[name]!["data_offsets"]![0]!.GetValue<long>();
        bytes.CopyTo(Data, begin + ((long)element * bytes.Length));
    }
}
