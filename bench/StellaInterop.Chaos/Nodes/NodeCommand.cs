using System.CommandLine;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Parses the subcommand with which a run starts its nodes.</summary>
internal static class NodeCommand
{
    public static Command Create()
    {
        var cluster = new Option<string>("--cluster") { Required = true };
        var address = new Option<string>("--address") { Required = true };
        var siloPort = new Option<int>("--silo-port") { Required = true };
        var gatewayPort = new Option<int>("--gateway-port") { Required = true };
        var work = new Option<string>("--work") { Required = true };
        var delay = new Option<int>("--delay-ms") { Required = true };
        var otherModel = new Option<bool>("--other-model");
        var lose = new Option<string?>("--lose");
        var node = new Command(NodeArguments.Command, "Runs a node. The run starts it.")
        {
            cluster, address, siloPort, gatewayPort, work, delay, otherModel, lose,
        };
        node.Hidden = true;
        node.SetAction((parsed, cancellationToken) => NodeProgram.RunAsync(
            new NodeArguments(
                parsed.GetRequiredValue(cluster),
                parsed.GetRequiredValue(address),
                parsed.GetRequiredValue(siloPort),
                parsed.GetRequiredValue(gatewayPort),
                parsed.GetRequiredValue(work),
                TimeSpan.FromMilliseconds(parsed.GetRequiredValue(delay)),
                parsed.GetValue(otherModel),
                parsed.GetValue(lose)),
            cancellationToken));
        return node;
    }
}
