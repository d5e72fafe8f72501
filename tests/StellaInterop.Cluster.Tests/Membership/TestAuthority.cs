using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StellaInterop.Cluster.Membership;
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

    /// <summary>Signs a certificate with its key in a file of its own.</summary>
    public ClusterTls Sign(string node, int days = 30, params string[] purposes)
    {
        (string pem, string keyPem) = SignPem(node, days, purposes);
        (string file, string keyFile) = (folder.File($"{name}-{node}.pem"), folder.File($"{name}-{node}.key"));
        File.WriteAllText(file, pem);
        File.WriteAllText(keyFile, keyPem);
        return new ClusterTls(file, keyFile, AuthorityFile);
    }

    /// <summary>Signs a certificate with its key in the same file.</summary>
    public ClusterTls SignInOneFile(string node)
    {
        (string pem, string keyPem) = SignPem(node, 30, []);
        string file = folder.File($"{name}-{node}.pem");
        File.WriteAllText(file, $"{pem}\n{keyPem}");
        return new ClusterTls(file, null, AuthorityFile);
    }

    public void Dispose() => certificate.Dispose();

    private (string Certificate, string Key) SignPem(string node, int days, string[] purposes)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={node}", key, HashAlgorithmName.SHA256);
        if (purposes.Length > 0)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([.. purposes.Select(purpose => new Oid(purpose))], critical: false));
        }

        using X509Certificate2 signed = request.Create(certificate, Begin, Begin.AddDays(days), RandomNumberGenerator.GetBytes(8));
        return (signed.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }
}
