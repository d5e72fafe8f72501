using System.CommandLine;
using StellaInterop.Cli.Clusters;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella jobs</c>, which shows and changes the jobs of a cluster.</summary>
/// <remarks>This file names no type of StellaInterop.Cluster, so that the other commands do not load it.</remarks>
internal static class JobsCommand
{
    public static Command Create()
    {
        var json = new Option<bool>("--json") { Description = "Write one JSON object with the jobs and the nodes, as GET /jobs of a node answers it." };
        var command = new Command(
            "jobs",
            """
            Lists the jobs and the nodes of a cluster, with their rates, and with the reasons of nodes that take nothing of a job.

            Examples:
              stella jobs --cluster localhost
              stella jobs pause /shared/vectors --cluster localhost
            """)
        {
            json,
            VerbosityOption.Instance.Option,
        };
        var cluster = new ClusterOptions(command, "Address of the cluster:");
        command.Add(CreateChange(cluster, "pause", JobChange.Pause, "Stops the work on a job. Parts that are begun are finished."));
        command.Add(CreateChange(cluster, "resume", JobChange.Resume, "Lets a job go on that was paused."));
        command.Add(CreateChange(cluster, "cancel", JobChange.Cancel, "Ends a job. Its parts stay in the output folder, and the same `stella bulk` continues it."));
        command.Add(CreateChange(cluster, "remove", JobChange.Remove, "Cancels a job, and removes it from the list. Its parts stay in the output folder, and a `stella bulk` without a cluster may continue it."));
        command.SetAction((parsed, cancellationToken) => JobsProgram.ListAsync(cluster.Get(parsed), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static Command CreateChange(ClusterOptions cluster, string name, JobChange change, string description)
    {
        var output = new Argument<string>("DIR") { Description = "Output folder of the job." };
        var command = new Command(name, description) { output, VerbosityOption.Instance.Option };
        command.SetAction((parsed, cancellationToken) => JobsProgram.ChangeAsync(cluster.Get(parsed), change, parsed.GetRequiredValue(output), cancellationToken));
        return command;
    }
}
