using System.IO.Compression;
using Snappier;
using ZstdSharp;

namespace StellaInterop.Bulk.Parquet;

/// <summary>Unpacks pages.</summary>
internal static class PageCompression
{
    /// <summary>Unpacks bytes to exactly the length of the destination.</summary>
    /// <exception cref="InvalidDataException">The compression is not supported, or the bytes have another length.</exception>
    public static void Unpack(ParquetCodec codec, ReadOnlySpan<byte> packed, Span<byte> destination)
    {
        int length = codec switch
        {
            ParquetCodec.Uncompressed => Copy(packed, destination),
            ParquetCodec.Snappy => Snappy.Decompress(packed, destination),
            ParquetCodec.Gzip => UnpackGzip(packed, destination),
            ParquetCodec.Brotli => BrotliDecoder.TryDecompress(packed, destination, out int written) ? written : -1,
            ParquetCodec.Zstd => UnpackZstd(packed, destination),
            _ => throw new InvalidDataException($"A page has the compression {codec}, which is not supported. Supported are Zstd, Snappy, Gzip and Brotli."),
        };
        if (length != destination.Length)
        {
            throw new InvalidDataException("A page has another length than its header says.");
        }
    }

    private static int Copy(ReadOnlySpan<byte> packed, Span<byte> destination)
    {
        packed.CopyTo(destination);
        return packed.Length;
    }

    private static int UnpackGzip(ReadOnlySpan<byte> packed, Span<byte> destination)
    {
        using var stream = new GZipStream(new MemoryStream(packed.ToArray()), CompressionMode.Decompress);
        return stream.ReadAtLeast(destination, destination.Length, throwOnEndOfStream: false);
    }

    private static int UnpackZstd(ReadOnlySpan<byte> packed, Span<byte> destination)
    {
        using var decompressor = new Decompressor();
        return decompressor.Unwrap(packed, destination);
    }
}
