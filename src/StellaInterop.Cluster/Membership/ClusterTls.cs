using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Orleans.Connections.Security;
using StellaInterop.Cluster.Errors;

namespace StellaInterop.Cluster.Membership;

/// <summary>Represents the certificates for TLS between nodes and clients. Both sides show a certificate that the authority has signed.</summary>
/// <remarks>
/// Nodes know each other by IP addresses that change, so the name in a certificate is not compared. The authority is therefore one of the cluster alone.
/// </remarks>
/// <param name="CertificateFile">The certificate of this process, in PEM.</param>
/// <param name="KeyFile">Its private key, in PEM; <see langword="null"/> if the key is in the file of the certificate.</param>
/// <param name="AuthorityFile">The certificate of the authority, in PEM, with those of intermediate authorities if there are any.</param>
internal sealed record ClusterTls(string CertificateFile, string? KeyFile, string AuthorityFile)
{
    private const string TargetName = "stella";
    private const string ServerPurpose = "1.3.6.1.5.5.7.3.1";
    private const string ClientPurpose = "1.3.6.1.5.5.7.3.2";

    /// <summary>Makes a node use TLS for all of its connections.</summary>
    /// <exception cref="ClusterException">A certificate cannot be used.</exception>
    public void Secure(ISiloBuilder silo) => silo.UseTls(Load());

    /// <inheritdoc cref="Secure(ISiloBuilder)"/>
    /// <summary>Makes a client use TLS for all of its connections.</summary>
    public void Secure(IClientBuilder client) => client.UseTls(Load());

    private static bool IsSigned(X509Certificate2 certificate, X509Certificate2Collection authorities, out string reason)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);

        // An authority of one cluster publishes no list of revoked certificates.
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        bool isSigned = chain.Build(certificate);
        reason = string.Join(", ", chain.ChainStatus.Select(status => status.StatusInformation.Trim().TrimEnd('.')));
        return isSigned;
    }

    private Action<TlsOptions> Load()
    {
        X509Certificate2Collection authorities = LoadAuthorities();
#pragma warning disable CA2000 // Connections use the certificate until the process ends.
        X509Certificate2 certificate = LoadCertificate();
#pragma warning restore CA2000
        Check(certificate, authorities);

        return options =>
        {
            options.LocalCertificate = certificate;
            options.RemoteCertificateMode = RemoteCertificateMode.RequireCertificate;
            options.ClientCertificateMode = RemoteCertificateMode.RequireCertificate;
            // TLS needs a name for the other side, which nothing compares.
            options.OnAuthenticateAsClient = (_, authentication) => authentication.TargetHost = TargetName;
            options.RemoteCertificateValidation = (remote, _, _) => IsSigned(remote, authorities, out _);
        };
    }

    private X509Certificate2Collection LoadAuthorities()
    {
        X509Certificate2Collection authorities = [];
        try
        {
            authorities.ImportFromPemFile(AuthorityFile);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ClusterException($"The authority {AuthorityFile} cannot be read: {e.Message.TrimEnd('.')}. Give a file with its certificate in PEM.", e);
        }

        return authorities.Count > 0
            ? authorities
            : throw new ClusterException($"The file {AuthorityFile} has no certificate. Give the certificate of the authority in PEM.");
    }

    private void Check(X509Certificate2 certificate, X509Certificate2Collection authorities)
    {
        string? fault = !IsSigned(certificate, authorities, out string reason) ? $"is refused by the authority {AuthorityFile}: {reason}"
            : !IsFor(certificate, ServerPurpose) || !IsFor(certificate, ClientPurpose) ? "is not for both server and client authentication"
            : null;
        if (fault is not null)
        {
            throw new ClusterException($"The certificate {CertificateFile} {fault}. Other nodes would refuse it, so sign another one.");
        }
    }

    private X509Certificate2 LoadCertificate()
    {
        try
        {
            X509Certificate2 certificate = X509Certificate2.CreateFromPemFile(CertificateFile, KeyFile);
            if (!OperatingSystem.IsWindows())
            {
                return certificate;
            }

            // The key of a certificate in PEM is only in memory, and the TLS of Windows does not use such a key.
            using (certificate)
            {
                return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new ClusterException(
                $"The certificate {CertificateFile}{(KeyFile is null ? "" : $" with the key {KeyFile}")} cannot be used: {e.Message.TrimEnd('.')}. Give a certificate and its key, both in PEM.", e);
        }
    }

    /// <summary>Determines whether a certificate allows a purpose. One that names no purposes allows all.</summary>
    private static bool IsFor(X509Certificate2 certificate, string purpose) =>
        certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().All(usage => usage.EnhancedKeyUsages.Cast<Oid>().Any(oid => oid.Value == purpose));
}
