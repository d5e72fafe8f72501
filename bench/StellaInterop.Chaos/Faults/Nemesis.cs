using System.Globalization;
using StellaInterop.Chaos.Checking;
using StellaInterop.Chaos.History;
using StellaInterop.Chaos.Machine;
using StellaInterop.Chaos.Nodes;
using StellaInterop.Chaos.Postgres;
using StellaInterop.Chaos.Submitting;

namespace StellaInterop.Chaos.Faults;

/// <summary>Makes the faults of a plan happen, and undoes each at its end.</summary>
internal sealed class Nemesis(NodeFleet fleet, PostgresServer postgres, SmallDisk? disk, Submitter submitter, RunHistory history)
{
    public const string AllHappened = "Every planned fault happened while the job ran";

    /// <summary>Runs a plan. At the end of the job or on cancellation, running faults are undone and the others are left out.</summary>
    /// <returns>The rule, when all faults are over.</returns>
    public async Task<Rule> RunAsync(IReadOnlyList<PlannedFault> plan, CancellationToken cancellationToken)
    {
        string?[] outcomes = await Task.WhenAll(plan.Select(fault => RunAsync(fault, cancellationToken))).ConfigureAwait(false);
        string[] violations = [.. outcomes.OfType<string>()];
        history.Add("faults", "over", string.Create(CultureInfo.InvariantCulture, $"{plan.Count - violations.Length} of {plan.Count} happened"));
        return new Rule(AllHappened, violations);
    }

    /// <summary>Waits for the time of a fault and runs it.</summary>
    /// <returns>Why it did not happen; <see langword="null"/> if it did.</returns>
    private async Task<string?> RunAsync(PlannedFault fault, CancellationToken cancellationToken)
    {
        string? node = fault.IsOfNode ? string.Create(CultureInfo.InvariantCulture, $"node-{fault.Target}") : null;
        await WaitAsync(fault.At, cancellationToken).ConfigureAwait(false);
        string? reason = EndReason(cancellationToken);
        if (reason is null)
        {
            history.Add("faults", $"{fault.Kind}", string.Create(CultureInfo.InvariantCulture, $"{(node is null ? "" : $"{node}, ")}{fault.Length.TotalSeconds:F0} s"));
            try
            {
                reason = await ApplyAsync(fault, cancellationToken).ConfigureAwait(false) ? EndReason(cancellationToken) : "no process was running";
            }
#pragma warning disable CA1031 // Whatever prevents a fault breaks the rule, and the other faults go on.
            catch (Exception e)
#pragma warning restore CA1031
            {
                reason = e.Message;
            }
        }

        if (reason is null)
        {
            history.Add("faults", $"{fault.Kind} took effect", node);
            return null;
        }

        string violation = string.Create(CultureInfo.InvariantCulture, $"{fault.Kind}{(node is null ? "" : $" of {node}")} at {fault.At.TotalSeconds:F0} s did not happen: {reason}");
        history.Add("faults", "violation", violation);
        return violation;
    }

    /// <summary>Runs a fault to its end.</summary>
    /// <returns><see langword="false"/> if the process to signal was not running.</returns>
    private async Task<bool> ApplyAsync(PlannedFault fault, CancellationToken cancellationToken)
    {
        switch (fault.Kind)
        {
            case FaultKind.KillNode:
                return await fleet[fault.Target].SignalAsync("KILL", fault.Length, cancellationToken).ConfigureAwait(false);
            case FaultKind.StopNode:
                return await fleet[fault.Target].SignalAsync("TERM", fault.Length, cancellationToken).ConfigureAwait(false);
            case FaultKind.PauseNode:
                bool isPaused = await fleet[fault.Target].SignalAsync("STOP", null, cancellationToken).ConfigureAwait(false);
                await WaitAsync(isPaused ? fault.Length : TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
                return isPaused && await fleet[fault.Target].SignalAsync("CONT", null, CancellationToken.None).ConfigureAwait(false);
            case FaultKind.ShortPartition or FaultKind.LongPartition:
                await fleet.CutAsync(fault.Target).ConfigureAwait(false);
                await WaitAsync(fault.Length, cancellationToken).ConfigureAwait(false);
                await fleet.MendAsync(fault.Target).ConfigureAwait(false);
                return true;
            case FaultKind.StopPostgres:
                await StopPostgresAsync(fault.Length, cancellationToken).ConfigureAwait(false);
                return true;
            case FaultKind.FullDisk:
                await disk!.FillAsync(fault.Length, cancellationToken).ConfigureAwait(false);
                return true;
            case FaultKind.KillSubmitter:
                return await submitter.KillAsync(cancellationToken).ConfigureAwait(false);
            default:
                await fleet.JoinAsync(fault.Target, otherModel: fault.Kind == FaultKind.OtherModel).ConfigureAwait(false);
                return true;
        }
    }

    private async Task StopPostgresAsync(TimeSpan length, CancellationToken cancellationToken)
    {
        if (!postgres.CanStop)
        {
            fleet.HoldPostgres(holds: true);
            await WaitAsync(length, cancellationToken).ConfigureAwait(false);
            fleet.HoldPostgres(holds: false);
            return;
        }

        await PostgresServer.StopAsync().ConfigureAwait(false);
        await WaitAsync(length, cancellationToken).ConfigureAwait(false);
        if (!cancellationToken.IsCancellationRequested)
        {
            await PostgresServer.StartAgainAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Waits for a time, the end of the job or cancellation, without an exception.</summary>
    private async Task WaitAsync(TimeSpan time, CancellationToken cancellationToken) =>
        _ = await Task.WhenAny(Task.Delay(time, cancellationToken), submitter.Completion).ConfigureAwait(false);

    /// <summary>Returns why faults end now; <see langword="null"/> if they go on.</summary>
    private string? EndReason(CancellationToken cancellationToken) =>
        cancellationToken.IsCancellationRequested ? "the run was cancelled"
        : submitter.Completion.IsCompleted ? "the job had ended"
        : null;
}
