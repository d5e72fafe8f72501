using System.CommandLine;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Serving;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella serve</c>, which answers requests over HTTP.</summary>
/// <remarks>This file names no type of ASP.NET Core, so that the other commands do not load it.</remarks>
internal static class ServeCommand
{
    public const string Name = "serve";

    private const long MinBodyBytes = 1024;
    private const long MaxBodyBytes = 1L << 30;

    public static Command Create()
    {
        var models = new Option<string[]>("--model")
        {
            Description = "Model to serve, as NAME=DIR, NAME=ORG/NAME or ORG/NAME; may be given several times. NAME is what clients send. "
                + "The first model is the default. Default: the shipped model, stella-mini.",
            HelpName = "NAME=DIR|ORG/NAME",
        };
        var urls = new Option<string?>("--urls")
        {
            Description = $"Addresses to listen on, with a semicolon between them. Default: {ServeSettings.DefaultUrl}.",
            HelpName = "URL",
        };
        var maxBody = new Option<long?>("--max-body-bytes")
        {
            Description = $"Largest body of a request in bytes, {MinBodyBytes} to {MaxBodyBytes}. Default: 33554432, which is 32 MiB.",
            HelpName = "N",
        };
        maxBody.Validators.Add(result =>
        {
            if (result.Tokens is [var token] && long.TryParse(token.Value, out long bytes) && bytes is < MinBodyBytes or > MaxBodyBytes)
            {
                result.AddError($"{maxBody.Name} is {bytes}; it must be {MinBodyBytes} to {MaxBodyBytes}.");
            }
        });
        var maxBuffered = new Option<long?>("--max-buffered-bytes")
        {
            Description = $"Largest sum in bytes of the buffers of requests at a time, at least {maxBody.Name}. Default: 8 x {maxBody.Name}.",
            HelpName = "N",
        };
        var keys = new Option<string?>("--keys")
        {
            Description = "File with the hashes of the API keys, which `stella keys` writes. Default: every caller is let in.",
            HelpName = "FILE",
        };
        var insecure = new Option<bool>("--insecure")
        {
            Description = "Listen beyond this machine although there are no keys.",
        };
        var cors = new Option<string[]>("--cors")
        {
            Description = "Origin whose web pages may use the server from a browser, such as https://app.example.com; may be given several times. "
                + "* allows every page. Default: none.",
            HelpName = "ORIGIN",
        };
        var certificate = new Option<string?>("--cert")
        {
            Description = "Certificate for https addresses, as PEM (with --key) or PFX.",
            HelpName = "FILE",
        };
        var certificateKey = new Option<string?>("--key")
        {
            Description = "Private key of a certificate in PEM. Default: the key in the file of --cert.",
            HelpName = "FILE",
        };
        var certificatePassword = new Option<string?>("--cert-password-file")
        {
            Description = "File with the password of the certificate. Default: the variable STELLA_Server__CertificatePassword, or no password.",
            HelpName = "FILE",
        };
        var configuration = new Option<string?>("--config")
        {
            Description = "JSON file with options of the server in the section Server. The environment (STELLA_Server__MaxBodyBytes=...) and the "
                + "options of the command line have precedence.",
            HelpName = "FILE",
        };
        var command = new Command(
            Name,
            """
            Answers requests for embeddings over HTTP, in the protocols of OpenAI, Text Embeddings Inference and Ollama.
            The server runs until it is interrupted. It then answers the requests that it has, for at most 20 seconds.

            Examples:
              stella serve
              stella serve --model small=./my-model --model NovaSearch/stella_en_400M_v5
            """)
        {
            models,
            urls,
            keys,
            insecure,
            cors,
            certificate,
            certificateKey,
            certificatePassword,
            maxBody,
            maxBuffered,
            configuration,
            VerbosityOption.Instance.Option,
        };
        command.SetAction((parsed, cancellationToken) => ServeProgram.RunAsync(
            new ServeSettings
            {
                Models = parsed.GetValue(models) ?? [],
                Urls = parsed.GetValue(urls),
                MaxBodyBytes = parsed.GetValue(maxBody),
                MaxBufferedBytes = parsed.GetValue(maxBuffered),
                KeyFile = parsed.GetValue(keys),
                CorsOrigins = parsed.GetValue(cors) ?? [],
                IsInsecure = parsed.GetValue(insecure),
                Certificate = parsed.GetValue(certificate),
                CertificateKey = parsed.GetValue(certificateKey),
                CertificatePasswordFile = parsed.GetValue(certificatePassword),
                ConfigurationFile = parsed.GetValue(configuration),
                Verbosity = VerbosityOption.Instance.Get(parsed),
            },
            cancellationToken));
        return command;
    }
}
