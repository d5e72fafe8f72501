using System.CommandLine;
using StellaInterop.Cli.Clusters;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella node</c>, which works on the jobs of a cluster.</summary>
/// <remarks>This file names no type of StellaInterop.Cluster, so that the other commands do not load it.</remarks>
internal static class NodeCommand
{
    public const string Name = "node";

    public static Command Create()
    {
        Option<string?> level = ProcessorLevel.CreateOption();
        var advertised = new Option<string?>("--advertise")
        {
            Description = "Address under which the other nodes reach this one. The port and the next one must be free. Default: the first address of this machine, "
                + "and the first free ports from 11111.",
            HelpName = "HOST[:PORT]",
        };
        var urls = new Option<string?>("--urls")
        {
            Description = "Addresses of pages over HTTP, with a semicolon between them: /jobs answers as `stella jobs --json`, and /health without a key. "
                + "https has the certificate of --cert. Default: no pages.",
            HelpName = "URL",
        };
        var keys = new Option<string?>("--keys")
        {
            Description = "File with the hashes of the API keys of the pages, which `stella keys` writes. Default: every caller is let in.",
            HelpName = "FILE",
        };
        var insecure = new Option<bool>("--insecure") { Description = "Let other machines reach the pages although there are no keys." };
        var dashboard = new Option<bool>("--dashboard") { Description = "Show the dashboard of Orleans at /dashboard. A browser asks for a user, any, and a password, the API key." };
        var command = new Command(
            Name,
            """
            Works on the bulk jobs of a cluster, which `stella bulk --cluster` submits and `stella jobs` shows. Inputs and outputs must be on a
            folder that all nodes share under the same path. The node runs until it is interrupted, and then gives back its work.

            Without TLS (--cert, --ca), everybody who reaches the ports of a node can command the cluster, so run it in a network of its own.

            Examples:
              stella node --cluster localhost
              stella node --cluster postgres://USER:PASSWORD@HOST/DATABASE --model NovaSearch/stella_en_400M_v5 --level avx2
            """)
        {
            level,
            advertised,
            urls,
            keys,
            insecure,
            dashboard,
        };
        var cluster = new ClusterOptions(command, "Address of the cluster:");
        var model = new ModelOptions(command, hasDimension: false);
        command.SetAction((parsed, cancellationToken) => NodeProgram.RunAsync(
            new NodeSettings
            {
                Cluster = cluster.Get(parsed),
                ModelName = model.GetName(parsed),
                CreatePool = writeMessage => new StellaEmbeddingPool(
                    model.GetFolder(parsed), model.GetOptions(parsed, ModelOptions.CreateLoggers(parsed, writeMessage))),
                Level = parsed.GetValue(level),
                Advertised = parsed.GetValue(advertised),
                Urls = parsed.GetValue(urls),
                KeyFile = parsed.GetValue(keys),
                IsInsecure = parsed.GetValue(insecure),
                HasDashboard = parsed.GetValue(dashboard),
                Verbosity = VerbosityOption.Instance.Get(parsed),
            },
            cancellationToken));
        return command;
    }
}
