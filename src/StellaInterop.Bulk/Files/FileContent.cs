using System.Security.Cryptography;

namespace StellaInterop.Bulk.Files;

/// <summary>Hashes streams, and names hashes.</summary>
internal static class FileContent
{
    private const int BufferBytes = 256 << 10;

    /// <summary>Returns the SHA-256 of the rest of a stream, in lower case hexadecimal digits.</summary>
    public static string Hash(Stream content, CancellationToken cancellationToken = default)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[BufferBytes];
        for (int count; (count = content.Read(buffer)) > 0;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            hash.AppendData(buffer, 0, count);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Returns the SHA-256 of bytes, in lower case hexadecimal digits.</summary>
    public static string Hash(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));
}
