using System.IO.Compression;
using System.Text;
using StellaInterop.Bulk.Inputs;
using ZstdSharp;

namespace StellaInterop.Bulk.Tests.Support;

/// <summary>Writes the content of an input file, and reads its rows.</summary>
internal static class InputContent
{
    public static InputRow[] ReadAll(string fileName, byte[] content, InputColumns? columns = null) =>
        [.. Read(fileName, new MemoryStream(content), columns).Select(read => read.Row)];

    public static InputRow[] ReadAll(string fileName, string content, InputColumns? columns = null) => ReadAll(fileName, Utf8(content), columns);

    /// <summary>Reads the rows from a place on, each with the place after it.</summary>
    public static IEnumerable<(InputRow Row, RowPosition After)> Read(string fileName, Stream content, InputColumns? columns = null, RowPosition from = default)
    {
        using RowReader reader = InputFormats.Find(fileName)!.Open(fileName, CompressedContent.Unpack(fileName, content), columns ?? new InputColumns(), from);
        Assert.That(reader.Position, Is.EqualTo(from));
        while (reader.Read(out InputRow row))
        {
            yield return (row, reader.Position);
        }
    }

    public static StellaBulkException Refuse(string fileName, byte[] content, InputColumns? columns = null)
    {
        StellaBulkException error = Assert.Throws<StellaBulkException>(() => ReadAll(fileName, content, columns), $"{content.Length} bytes")!;
        Assert.Multiple(() =>
        {
            Assert.That(error.Code, Is.EqualTo(StellaBulkErrorCode.InputUnreadable));
            Assert.That(error.Message, Does.Contain($"'{fileName}'").And.EndsWith("."));
        });
        return error;
    }

    public static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    /// <remarks>.NET compresses no bytes to no bytes, other than gzip.</remarks>
    public static byte[] Gzip(byte[] content)
    {
        if (content.Length == 0)
        {
            return Convert.FromHexString("1F8B080000000000000303000000000000000000");
        }

        var packed = new MemoryStream();
        using (var stream = new GZipStream(packed, CompressionLevel.Fastest))
        {
            stream.Write(content);
        }

        return packed.ToArray();
    }

    public static byte[] Zstd(byte[] content)
    {
        var packed = new MemoryStream();
        using (var stream = new CompressionStream(packed))
        {
            stream.Write(content);
        }

        return packed.ToArray();
    }
}
