using System.Globalization;
using StellaInterop.Bulk.Commit;

namespace StellaInterop.Chaos.Nodes;

/// <summary>Represents the command line of the subcommand <c>node</c>, which the run starts.</summary>
/// <param name="Name">The name of the node, as that of its machine.</param>
/// <param name="Cluster">The address of PostgreSQL.</param>
/// <param name="Address">The address of the node.</param>
/// <param name="Port">The port for other nodes. Submitters have the next one.</param>
/// <param name="Work">The folder of the run, whose file <see cref="HurryFile"/> ends the slowness.</param>
/// <param name="Delay">The time that a call for vectors takes at least.</param>
/// <param name="OtherModel">Whether the model is another one than that of the job.</param>
/// <param name="Lose">The safeguard that is switched off; none in a usual run.</param>
internal sealed record NodeArguments(
    string Name, string Cluster, string Address, int Port, string Work, TimeSpan Delay, bool OtherModel, Safeguards Lose)
{
    public const string Command = "node";

    /// <summary>A node ends its process when a text contains this.</summary>
    public const string PoisonMark = "POISON-3f1c";

    /// <summary>The name of the file in the folder of the run with which nodes are no longer slow.</summary>
    public const string HurryFile = "hurry";

    /// <summary>Returns the arguments of the process.</summary>
    public IEnumerable<string> ToArguments()
    {
        string[] arguments =
        [
            Command,
            "--name", Name,
            "--cluster", Cluster,
            "--address", Address,
            "--port", Port.ToString(CultureInfo.InvariantCulture),
            "--work", Work,
            "--delay-ms", ((int)Delay.TotalMilliseconds).ToString(CultureInfo.InvariantCulture),
        ];
        return [.. arguments, .. OtherModel ? ["--other-model"] : Array.Empty<string>(), .. Lose == Safeguards.None ? [] : new[] { "--lose", Lose.ToString() }];
    }
}
