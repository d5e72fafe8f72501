using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StellaInterop.Cli.Serving;

namespace StellaInterop.Tests;

/// <summary>The certificate of <c>stella serve</c> on systems whose TLS needs a stored key.</summary>
internal sealed class ServerCertificateTests
{
    private static readonly byte[] Data = [1, 2, 3];

    [TestCase(null)]
    [TestCase("secret")]
    public void The_key_of_a_certificate_in_PEM_is_stored(string? password)
    {
        using var folder = new TemporaryFolder();
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 made = Make(key);
        string file = folder.File("both.pem");
        string keyPem = password is null ? key.ExportPkcs8PrivateKeyPem() : key.ExportEncryptedPkcs8PrivateKeyPem(password, new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000));
        File.WriteAllText(file, $"{made.ExportCertificatePem()}\n{keyPem}\n");
        X509Certificate2? inMemory = null;

        using X509Certificate2 loaded = ServerCertificate.Load(file, null, password, certificate =>
        {
            inMemory = certificate;
            return ServerCertificate.StoreKey(certificate);
        });

        Assert.That(loaded, Is.Not.SameAs(inMemory));
        Assert.That(inMemory!.Handle == 0, "it is disposed");
        Assert.That(loaded.Thumbprint, Is.EqualTo(made.Thumbprint));
        using ECDsa? signer = loaded.GetECDsaPrivateKey();
        Assert.That(key.VerifyData(Data, signer!.SignData(Data, HashAlgorithmName.SHA256), HashAlgorithmName.SHA256));
    }

    [Test]
    public void The_key_of_a_PFX_file_is_stored_already()
    {
        using var folder = new TemporaryFolder();
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 made = Make(key);
        File.WriteAllBytes(folder.File("server.pfx"), made.Export(X509ContentType.Pkcs12));
        using X509Certificate2 loaded = ServerCertificate.Load(folder.File("server.pfx"), null, null, _ => throw new InvalidOperationException("not for PFX"));
        Assert.That(loaded.HasPrivateKey);
    }

    private static X509Certificate2 Make(ECDsa key) =>
        new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
}
