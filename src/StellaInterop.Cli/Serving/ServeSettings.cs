using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Serving;

/// <summary>The options of <c>stella serve</c> on the command line. <see langword="null"/> leaves an option to the configuration.</summary>
internal sealed record ServeSettings
{
    public const string DefaultUrl = "http://127.0.0.1:8080";

    /// <summary>Gets the models as NAME=DIR, NAME=ORG/NAME or ORG/NAME.</summary>
    public required IReadOnlyList<string> Models { get; init; }

    /// <summary>Gets the addresses, with a semicolon between them.</summary>
    public required string? Urls { get; init; }

    public required long? MaxBodyBytes { get; init; }

    public required long? MaxBufferedBytes { get; init; }

    public required string? ConfigurationFile { get; init; }

    /// <summary>Gets the file with the hashes of the keys.</summary>
    public required string? KeyFile { get; init; }

    /// <summary>Gets the origins whose web pages may use the server.</summary>
    public required IReadOnlyList<string> CorsOrigins { get; init; }

    /// <summary>Gets the certificate, as PEM or PFX.</summary>
    public required string? Certificate { get; init; }

    /// <summary>Gets the private key of a certificate in PEM.</summary>
    public required string? CertificateKey { get; init; }

    /// <summary>Gets the file with the password of the certificate.</summary>
    public required string? CertificatePasswordFile { get; init; }

    /// <summary>Gets whether the server may listen beyond this machine without keys.</summary>
    public required bool IsInsecure { get; init; }

    public required Verbosity Verbosity { get; init; }
}
