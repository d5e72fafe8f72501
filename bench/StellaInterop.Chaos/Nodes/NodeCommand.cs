using System.CommandLine;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Parses the subcommand with which a run starts its nodes.</summary>
internal static class NodeCommand
{
    public static Command Create()
    {
        var name = new Option<string>("--name") { Required = true };
        var cluster = new Option<string>("--cluster") { Required = true };
        var address = new Option<string>("--address") { Required = true };
        var port = new Option<int>("--port") { Required = true };
        var work = new Option<string>("--work") { Required = true };
        var delay = new Option<int>("--delay-ms") { Required = true };
        var otherModel = new Option<bool>("--other-model");
        var lose = new Option<Safeguards>("--lose");
        var node = new Command(NodeArguments.Command, "Runs a node. The run starts it.")
        {
            name, cluster, address, port, work, delay, otherModel, lose,
        };
        node.Hidden = true;
        node.SetAction((parsed, cancellationToken) => NodeProgram.RunAsync(
            new NodeArguments(
                parsed.GetRequiredValue(name),
                parsed.GetRequiredValue(cluster),
                parsed.GetRequiredValue(address),
                parsed.GetRequiredValue(port),
                parsed.GetRequiredValue(work),
                TimeSpan.FromMilliseconds(parsed.GetRequiredValue(delay)),
                parsed.GetValue(otherModel),
                parsed.GetValue(lose)),
            cancellationToken));
        return node;
    }
}
