using System.Net;
using Microsoft.AspNetCore.Http;
using StellaInterop.Cli.Errors;

namespace StellaInterop.Cli.Serving;

/// <summary>Reads the addresses of the option --urls.</summary>
internal static class ListenAddresses
{
    /// <summary>
    /// Splits and checks addresses. Refuses those that other machines reach, unless callers need a key, and https without a certificate.
    /// </summary>
    /// <param name="given">The addresses, with a semicolon between them.</param>
    /// <param name="hasKeys">Whether callers need a key.</param>
    /// <param name="isInsecure">Whether the user allows other machines without keys.</param>
    /// <param name="hasCertificate">Whether there is a certificate for https.</param>
    /// <param name="hasHttps">Whether one of the addresses has https.</param>
    public static string[] Parse(string given, bool hasKeys, bool isInsecure, bool hasCertificate, out bool hasHttps)
    {
        string[] urls = given.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        hasHttps = false;
        if (urls.Length == 0)
        {
            throw new CliException(ExitCode.Usage, $"--urls has no address. Use the form {ServeSettings.DefaultUrl}.");
        }

        foreach (string url in urls)
        {
            BindingAddress address;
            try
            {
                address = BindingAddress.Parse(url);
            }
            catch (FormatException e)
            {
                throw new CliException(ExitCode.Usage, $"'{url}' is not an address. Use the form {ServeSettings.DefaultUrl}.", e);
            }

            bool isHttps = address.Scheme.Equals("https", StringComparison.OrdinalIgnoreCase);
            hasHttps |= isHttps;
            if (isHttps && !hasCertificate)
            {
                throw new CliException(ExitCode.Usage, $"{url} needs a certificate. Give --cert FILE, or use an http address.");
            }

            bool isLocal = address.IsUnixPipe || address.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
                || (IPAddress.TryParse(address.Host.Trim('[', ']'), out IPAddress? ip) && IPAddress.IsLoopback(ip));
            if (!isLocal && !hasKeys && !isInsecure)
            {
                throw new CliException(
                    ExitCode.Usage, $"{url} can be reached by other machines, and there are no keys. Make one by `stella keys add NAME --keys FILE` and give --keys FILE, or say --insecure.");
            }
        }

        return urls;
    }
}
