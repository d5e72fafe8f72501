using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Compares a file with the size and the hash that its repository publishes.</summary>
internal static class ContentCheck
{
    /// <summary>What the file is, or <see langword="null"/> where it is not what was published.</summary>
    public static StellaManifestFile? Match(HubFile published, string path, CancellationToken cancellationToken)
    {
        if (published.PublishedSize is { } size && new FileInfo(path).Length != size)
        {
            return null;
        }

        StellaManifestFile content = StellaManifestFile.FromFile(path, cancellationToken);
        bool good = published switch
        {
            { Lfs: { } lfs } => content.Sha256 == lfs.Sha256,
            { BlobId: { } blob } => GitSha1(path) == blob,
            // A server that publishes no hash leaves the size alone to compare.
            _ => true,
        };
        return good ? content : null;
    }

    /// <summary>The name that git gives to a content.</summary>
    private static string GitSha1(string path)
    {
        // Files outside of LFS are small: tokenizer.json of the 1.5B model is the largest, with 7 MB.
        byte[] content = File.ReadAllBytes(path);
#pragma warning disable CA5350 // It is what is published for these files; the connection is what is trusted.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
#pragma warning restore CA5350
        hash.AppendData(Encoding.ASCII.GetBytes($"blob {content.Length}\0"));
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
