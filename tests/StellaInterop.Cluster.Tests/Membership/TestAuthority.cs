using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests.Membership;

/// <summary>Represents an authority that signs certificates into a folder.</summary>
internal sealed class TestAuthority : IDisposable
{
    public const string Server = "1.3.6.1.5.5.7.3.1";
    public const string Client = "1.3.6.1.5.5.7.3.2";

    private static readonly DateTimeOffset Begin = DateTimeOffset.UtcNow.AddDays(-2);

    private readonly TemporaryFolder folder;
    private readonly X509Certificate2 certificate;
    private readonly string name;

    public TestAuthority(TemporaryFolder folder, string name)
    {
        (this.folder, this.name) = (folder, name);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        certificate = request.CreateSelfSigned(Begin, Begin.AddYears(1));
        File.WriteAllText(AuthorityFile, certificate.ExportCertificatePem());
    }

    public string AuthorityFile => folder.File($"{name}.pem");

    /// <summary>Signs a certificate, with its key in a file of its own. One without purposes is for all.</summary>
    public (string Certificate, string Key) Sign(string node, int days = 30, params string[] purposes)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={node}", key, HashAlgorithmName.SHA256);
        if (purposes.Length > 0)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([.. purposes.Select(purpose => new Oid(purpose))], critical: false));
        }

        using X509Certificate2 signed = request.Create(certificate, Begin, Begin.AddDays(days), RandomNumberGenerator.GetBytes(8));
        (string file, string keyFile) = (folder.File($"{name}-{node}.pem"), folder.File($"{name}-{node}.key"));
        File.WriteAllText(file, signed.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
        return (file, keyFile);
    }

    public void Dispose() => certificate.Dispose();
}
