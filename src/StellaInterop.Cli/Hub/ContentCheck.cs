using System.Security.Cryptography;
using System.Text;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Hub;

/// <summary>Compares a file with the size and hash that its repository publishes.</summary>
internal static class ContentCheck
{
    /// <summary>Returns the size and hashes of a file; <see langword="null"/> if they differ from the published ones.</summary>
    public static StellaManifestFile? Match(HubFile published, string path, CancellationToken cancellationToken)
    {
        if (published.PublishedSize is { } size && new FileInfo(path).Length != size)
        {
            return null;
        }

        StellaManifestFile content = StellaManifestFile.FromFile(path, cancellationToken);
        bool matches = published switch
        {
            { Lfs: { } lfs } => content.Sha256 == lfs.Sha256,
            { BlobId: { } blob } => ComputeGitSha1(path) == blob,
            // Without a published hash, only the size can be compared.
            _ => true,
        };
        return matches ? content : null;
    }

    /// <summary>Computes the object name of a file in git.</summary>
    private static string ComputeGitSha1(string path)
    {
        // Files outside of LFS are small. The largest is tokenizer.json of the 1.5B model with 7 MB.
        byte[] content = File.ReadAllBytes(path);
#pragma warning disable CA5350 // Hugging Face publishes only SHA-1 for these files, so the trust is in the connection.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
#pragma warning restore CA5350
        hash.AppendData(Encoding.ASCII.GetBytes($"blob {content.Length}\0"));
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
