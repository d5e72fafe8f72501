using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Serving;

/// <summary>Reads the certificate of the server. Each error is one sentence with its cause.</summary>
internal static class ServerCertificate
{
    /// <summary>The error of the runtime for a PFX file whose password is wrong or missing, on every platform.</summary>
    private const int InvalidPassword = unchecked((int)0x80070056);

    private const string PasswordSource = "--cert-password-file FILE or the variable STELLA_Server__CertificatePassword";

    /// <summary>Reads a certificate with its private key.</summary>
    /// <param name="file">The certificate, as PEM or PFX.</param>
    /// <param name="key">The private key of a certificate in PEM; <see langword="null"/> if it is in the same file.</param>
    /// <param name="password">The password of a PFX file or of an encrypted key in PEM; <see langword="null"/> for none.</param>
    /// <exception cref="CliException">The certificate cannot be used.</exception>
    public static X509Certificate2 Load(string file, string? key, string? password) =>
        Load(file, key, password, OperatingSystem.IsWindows() ? StoreKey : static certificate => certificate);

    /// <inheritdoc cref="Load(string, string?, string?)"/>
    /// <param name="file">The certificate, as PEM or PFX.</param>
    /// <param name="key">The private key of a certificate in PEM; <see langword="null"/> if it is in the same file.</param>
    /// <param name="password">The password of a PFX file or of an encrypted key in PEM; <see langword="null"/> for none.</param>
    /// <param name="prepare">Prepares a certificate in PEM for the TLS of the system.</param>
    internal static X509Certificate2 Load(string file, string? key, string? password, Func<X509Certificate2, X509Certificate2> prepare)
    {
        bool isPfx = IsPfx(file);
        if (isPfx && key is not null)
        {
            throw new CliException(ExitCode.Usage, $"--key {key} is for a certificate in PEM, and {file} has its own key. Leave out --key.");
        }

        try
        {
#pragma warning disable CA2000 // The preparation returns the certificate, or disposes it.
            return isPfx ? LoadPfx(file, password)
                : prepare(password is null ? X509Certificate2.CreateFromPemFile(file, key) : X509Certificate2.CreateFromEncryptedPemFile(file, password, key));
#pragma warning restore CA2000
        }
        catch (CryptographicException e) when (e.HResult == InvalidPassword)
        {
            throw new CliException(
                ExitCode.Other,
                password is null ? $"The certificate {file} needs a password. Give it by {PasswordSource}." : $"The password of the certificate {file} is wrong. Check {PasswordSource}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new CliException(
                ExitCode.Other, $"The certificate {file}{(key is null ? "" : $" with the key {key}")} cannot be used: {e.Message.TrimEnd('.')}. Check --cert and --key.");
        }
    }

    /// <summary>Reads the certificates of a file, which lead from that of the server to one that clients know.</summary>
    /// <param name="file">The certificate, as PEM or PFX, of which <see cref="Load(string, string?, string?)"/> has accepted the password.</param>
    /// <param name="password">The password of a PFX file; <see langword="null"/> for none.</param>
    public static X509Certificate2Collection LoadChain(string file, string? password)
    {
        if (IsPfx(file))
        {
            return X509CertificateLoader.LoadPkcs12CollectionFromFile(file, password);
        }

        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(file);
        return chain;
    }

    /// <summary>Puts the key of a certificate into the key store of the system, until the certificate is disposed.</summary>
    /// <remarks>The key of a certificate in PEM is only in memory, and the TLS of Windows does not use such a key.</remarks>
    internal static X509Certificate2 StoreKey(X509Certificate2 certificate)
    {
        using (certificate)
        {
            return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
        }
    }

    /// <summary>Reads the password in a file, without the end of its last line.</summary>
    /// <exception cref="CliException">The file cannot be read.</exception>
    public static string ReadPassword(string file)
    {
        try
        {
            return File.ReadAllText(file).TrimEnd('\r', '\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Other, $"The file {file} with the password of the certificate cannot be read: {e.Message.TrimEnd('.')}. Check --cert-password-file.");
        }
    }

    private static bool IsPfx(string file) => Path.GetExtension(file).ToUpperInvariant() is ".PFX" or ".P12";

    private static X509Certificate2 LoadPfx(string file, string? password)
    {
        X509Certificate2 certificate = X509CertificateLoader.LoadPkcs12FromFile(file, password);
        if (certificate.HasPrivateKey)
        {
            return certificate;
        }

        certificate.Dispose();
        throw new CliException(ExitCode.Other, $"The certificate {file} has no private key. Export it together with its key.");
    }
}
