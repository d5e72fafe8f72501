using System.Security.Cryptography;

namespace StellaInterop.Bulk.Files;

/// <summary>Hashes the bytes of a stream as they are read. It cannot seek, so that each byte is hashed once.</summary>
internal sealed class HashingStream(Stream content) : ReadOnlyStream(content)
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <summary>Gets the number of bytes that were read.</summary>
    public long Count { get; private set; }

    /// <summary>Reads the rest, and returns the SHA-256 of all bytes in lower case hexadecimal digits.</summary>
    public string Finish(CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[64 << 10];
        while (Read(buffer) > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    public override int Read(Span<byte> buffer)
    {
        int count = Inner.Read(buffer);
        hash.AppendData(buffer[..count]);
        Count += count;
        return count;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            hash.Dispose();
        }

        base.Dispose(disposing);
    }
}
