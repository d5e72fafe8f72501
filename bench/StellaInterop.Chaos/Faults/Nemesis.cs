using System.Globalization;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Machine;
using StellaInterop.Chaos.Nodes;
using StellaInterop.Chaos.Postgres;
using StellaInterop.Chaos.Submitting;

namespace StellaInterop.Chaos.Faults;

/// <summary>Makes the faults of a plan happen, and undoes each at its end.</summary>
internal sealed class Nemesis(NodeFleet fleet, PostgresServer postgres, SmallDisk? disk, Submitter submitter, RunHistory history)
{
    /// <summary>Runs a plan.</summary>
    /// <returns>When all faults are over.</returns>
    public async Task RunAsync(IReadOnlyList<PlannedFault> plan, CancellationToken cancellationToken)
    {
        TimeSpan start = history.Elapsed;
        var running = new List<Task>();
        foreach (PlannedFault fault in plan)
        {
            TimeSpan wait = start + fault.At - history.Elapsed;
            await Task.Delay(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            running.Add(ApplyAsync(fault, cancellationToken));
        }

        await Task.WhenAll(running).ConfigureAwait(false);
    }

    private async Task ApplyAsync(PlannedFault fault, CancellationToken cancellationToken)
    {
        string target = !fault.IsOfNode ? "" : string.Create(CultureInfo.InvariantCulture, $"node-{fault.Target}, ");
        history.Add("faults", fault.Kind.ToString(), string.Create(CultureInfo.InvariantCulture, $"{target}{fault.Length.TotalSeconds:F0} s"));
        Task lasting = Task.Delay(fault.Length, cancellationToken);
        switch (fault.Kind)
        {
            case FaultKind.KillNode:
                await fleet[fault.Target].SignalAsync("KILL", fault.Length).ConfigureAwait(false);
                break;
            case FaultKind.StopNode:
                await fleet[fault.Target].SignalAsync("TERM", fault.Length).ConfigureAwait(false);
                break;
            case FaultKind.PauseNode:
                await fleet[fault.Target].SignalAsync("STOP").ConfigureAwait(false);
                await lasting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await fleet[fault.Target].SignalAsync("CONT").ConfigureAwait(false);
                break;
            case FaultKind.ShortPartition or FaultKind.LongPartition:
                await fleet.CutAsync(fault.Target).ConfigureAwait(false);
                await lasting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await fleet.MendAsync(fault.Target).ConfigureAwait(false);
                break;
            case FaultKind.StopPostgres:
                await StopPostgresAsync(lasting).ConfigureAwait(false);
                break;
            case FaultKind.FullDisk:
                await disk!.FillAsync(fault.Length, cancellationToken).ConfigureAwait(false);
                break;
            case FaultKind.KillSubmitter:
                submitter.Kill();
                break;
            case FaultKind.Join:
                await fleet.JoinAsync(fault.Target).ConfigureAwait(false);
                break;
            default:
                await fleet.JoinAsync(fault.Target, otherModel: true).ConfigureAwait(false);
                break;
        }

        if (fault.Kind is not (FaultKind.KillNode or FaultKind.StopNode or FaultKind.KillSubmitter or FaultKind.Join or FaultKind.OtherModel))
        {
            history.Add("faults", $"{fault.Kind} is over", target.TrimEnd(',', ' ') is { Length: > 0 } name ? name : null);
        }
    }

    private async Task StopPostgresAsync(Task lasting)
    {
        if (!postgres.CanStop)
        {
            fleet.HoldPostgres(holds: true);
            await lasting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            fleet.HoldPostgres(holds: false);
            return;
        }

        await PostgresServer.StopAsync().ConfigureAwait(false);
        await lasting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await PostgresServer.StartAgainAsync().ConfigureAwait(false);
    }
}
