using System.IO.Compression;
using System.Net;

namespace StellaInterop.Tests.Fuzzing;

/// <summary>Specifies how the bytes of a body are sent.</summary>
internal enum Delivery
{
    /// <summary>With their length before them.</summary>
    Whole,

    /// <summary>In chunks, or in frames of HTTP/2.</summary>
    Chunked,

    /// <summary>In small parts with pauses.</summary>
    Slow,

    /// <summary>The client leaves after a part of the body.</summary>
    Abandoned,
}

/// <summary>Sends a body in parts.</summary>
internal sealed class RandomContent(byte[] bytes, Delivery delivery, Random random) : HttpContent
{
    /// <summary>Packs a body; sometimes into bytes that cannot be unpacked, or that unpack to far more than the limit of the server.</summary>
    /// <returns>The bytes and the content encoding that they are sent with.</returns>
    public static (byte[] Bytes, string? Encoding) Pack(byte[] bytes, Random random, int limit)
    {
        string? encoding = random.Next(16) switch
        {
            0 or 1 => "gzip",
            2 => "deflate",
            3 => "br",
            4 => "GZIP",
            5 => "identity",
            6 => "zstd",
            7 => "gzip, br",
            _ => null,
        };
        if (encoding is null or "identity" or "zstd" or "gzip, br")
        {
            return (bytes, encoding);
        }

        int fault = random.Next(8);
        byte[] content = fault == 0 ? [.. bytes, .. Enumerable.Repeat((byte)' ', 20 * limit)] : bytes;
        using var packed = new MemoryStream();
        using (Stream packer = encoding switch
        {
            "deflate" => new ZLibStream(packed, CompressionLevel.Fastest),
            "br" => new BrotliStream(packed, CompressionLevel.Fastest),
            _ => new GZipStream(packed, CompressionLevel.Fastest),
        })
        {
            packer.Write(content);
        }

        byte[] result = packed.ToArray();
        if (fault == 1)
        {
            result = result[..random.Next(result.Length)];
        }
        else if (fault == 2 && result.Length > 0)
        {
            result[random.Next(result.Length)] ^= 0x55;
        }
        else if (fault == 3)
        {
            result = bytes;
        }

        return (result, encoding);
    }

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        if (delivery == Delivery.Whole)
        {
            await stream.WriteAsync(bytes);
            return;
        }

        int parts = random.Next(1, 8);
        int end = delivery == Delivery.Abandoned ? random.Next(bytes.Length + 1) : bytes.Length;
        for (int i = 0; i < parts; i++)
        {
            await stream.WriteAsync(bytes.AsMemory((end * i / parts)..(end * (i + 1) / parts)));
            await stream.FlushAsync();
            if (delivery == Delivery.Slow)
            {
                await Task.Delay(1);
            }
        }

        if (delivery == Delivery.Abandoned)
        {
            throw new AbandonedException();
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = bytes.Length;
        return delivery == Delivery.Whole;
    }
}

/// <summary>Ends a request whose client leaves.</summary>
internal sealed class AbandonedException : Exception;
