using System.CommandLine;
using System.CommandLine.Parsing;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Options;

/// <summary>Represents what the command line says about a cluster.</summary>
/// <param name="Address">The address.</param>
/// <param name="Certificate">The certificate for TLS between nodes and clients; <see langword="null"/> for connections without TLS.</param>
/// <param name="CertificateKey">The private key of the certificate; <see langword="null"/> if it is in the same file.</param>
/// <param name="Authority">The certificate of the authority.</param>
internal sealed record ClusterSettings(string Address, string? Certificate, string? CertificateKey, string? Authority);

/// <summary>Adds the options that name a cluster to a command.</summary>
internal sealed class ClusterOptions
{
    private const string Variable = "STELLA_CLUSTER";

    private readonly Option<string?> address;

    private readonly Option<string?> certificate = new("--cert")
    {
        Description = "Certificate of this process in PEM, for TLS between all nodes and clients of the cluster. Default: no TLS.",
        HelpName = "FILE",
        Recursive = true,
    };

    private readonly Option<string?> key = new("--key")
    {
        Description = "Private key of the certificate. Default: the key in the file of --cert.",
        HelpName = "FILE",
        Recursive = true,
    };

    private readonly Option<string?> authority = new("--ca")
    {
        Description = "Certificate of the authority that has signed the certificates of all nodes and clients. It must be one of the cluster alone.",
        HelpName = "FILE",
        Recursive = true,
    };

    /// <param name="command">The command. Its subcommands have the options too.</param>
    /// <param name="description">The meaning of the cluster for the command.</param>
    public ClusterOptions(Command command, string description)
    {
        address = new Option<string?>("--cluster")
        {
            Description = $"{description} postgres://USER:PASSWORD@HOST/DATABASE, redis://HOST, or localhost to try it on one machine. "
                + $"Without a value: the variable {Variable}, which no other user can read.",
            HelpName = "ADDRESS",
            Arity = ArgumentArity.ZeroOrOne,
            Recursive = true,
        };
        command.Add(address);
        command.Add(certificate);
        command.Add(key);
        command.Add(authority);
    }

    /// <summary>Gets whether the command line names a cluster, if only by the variable of the environment.</summary>
    public bool IsGiven(ParseResult parsed) => parsed.GetResult(address) is not null;

    /// <inheritdoc cref="IsGiven(ParseResult)"/>
    public bool IsGiven(CommandResult command) => command.GetResult(address) is not null;

    /// <summary>Reads the options.</summary>
    /// <exception cref="CliException">There is no address, neither as the value of the option nor in the environment, or a part of TLS is missing.</exception>
    public ClusterSettings Get(ParseResult parsed)
    {
        string? given = parsed.GetValue(address) is { Length: > 0 } value ? value : Environment.GetEnvironmentVariable(Variable);
        var settings = new ClusterSettings(given ?? "", parsed.GetValue(certificate), parsed.GetValue(key), parsed.GetValue(authority));
        string? fault = settings switch
        {
            { Address.Length: 0 } => $"There is no address of a cluster. Give --cluster ADDRESS, or set the variable {Variable}.",
            { Certificate: null, CertificateKey: not null } => "--key belongs to a certificate, and --cert names none. Give --cert FILE too.",
            { Certificate: null, Authority: not null } or { Certificate: not null, Authority: null } => "TLS between nodes needs both --cert and --ca.",
            _ => null,
        };
        return fault is null ? settings : throw new CliException(ExitCode.Usage, fault);
    }
}
