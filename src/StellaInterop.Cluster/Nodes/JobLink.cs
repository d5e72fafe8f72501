using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cluster.Nodes;

/// <summary>Carries the reports of a node to the coordinator of a job, and keeps what was not heard for the next one. Thread-safe.</summary>
/// <param name="grain">The coordinator.</param>
/// <param name="node">The node.</param>
#pragma warning disable CA1001 // A semaphore without a wait handle has nothing to free.
internal sealed class JobLink(IJobGrain grain, NodeInfo node)
#pragma warning restore CA1001
{
    private readonly SemaphoreSlim turn = new(1);
    private readonly Lock gate = new();
    private readonly HashSet<LeaseMessage> held = [];
    private readonly HashSet<LeaseMessage> lost = [];
    private List<DoneMessage> done = [];
    private List<ReturnMessage> returned = [];
    private FaultMessage? fault;
    private TaskMessage? endedTask;
    private WorkKind task;

    /// <summary>Gets the number of leases that the node works on.</summary>
    public int HeldCount
    {
        get
        {
            lock (gate)
            {
                return held.Count;
            }
        }
    }

    /// <summary>Tells what is new, and renews all leases.</summary>
    /// <param name="wantsWork">Whether the node wants work.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <param name="isLeaving">Whether the node leaves the job.</param>
    /// <exception cref="Exception">The coordinator did not answer. The next call tells the same again.</exception>
    public async Task<JobAnswer> CallAsync(bool wantsWork, CancellationToken cancellationToken, bool isLeaving = false)
    {
        await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            NodeReport report = CreateReport(wantsWork) with { IsLeaving = isLeaving };
            JobAnswer answer = await grain.ReportAsync(report).WaitAsync(cancellationToken).ConfigureAwait(false);
            lock (gate)
            {
                done = [.. done.Except(report.Done)];
                returned = [.. returned.Except(report.Returned)];
                fault = fault == report.Fault ? null : fault;
                endedTask = endedTask == report.EndedTask ? null : endedTask;
                foreach (LeaseMessage lease in answer.Lost.Where(held.Contains))
                {
                    lost.Add(lease);
                }

                if (answer.Lease is { } given)
                {
                    held.Add(given);
                }
            }

            return answer;
        }
        finally
        {
            _ = turn.Release();
        }
    }

    /// <summary>Returns whether a lease ended, so that its part cannot be committed.</summary>
    public bool IsLost(LeaseMessage lease)
    {
        lock (gate)
        {
            return lost.Contains(lease);
        }
    }

    /// <summary>Ends a lease with its part.</summary>
    public void Done(DoneMessage message)
    {
        lock (gate)
        {
            Drop(message.Lease);
            done.Add(message);
        }
    }

    /// <summary>Ends a lease without a part.</summary>
    public void Return(LeaseMessage lease, bool isAttempt)
    {
        lock (gate)
        {
            if (Drop(lease))
            {
                returned.Add(new ReturnMessage(lease, isAttempt));
            }
        }
    }

    /// <summary>Ends all leases without parts.</summary>
    public void ReturnAll()
    {
        lock (gate)
        {
            returned.AddRange(held.Select(lease => new ReturnMessage(lease, IsAttempt: false)));
            held.Clear();
            lost.Clear();
        }
    }

    public void Begin(WorkKind kind)
    {
        lock (gate)
        {
            task = kind;
        }
    }

    public void End(bool isDone)
    {
        lock (gate)
        {
            endedTask = new TaskMessage(task, isDone);
            task = WorkKind.Wait;
        }
    }

    public void Report(FaultMessage message)
    {
        lock (gate)
        {
            fault = message;
        }
    }

    private bool Drop(LeaseMessage lease)
    {
        lost.Remove(lease);
        return held.Remove(lease);
    }

    private NodeReport CreateReport(bool wantsWork)
    {
        lock (gate)
        {
            return new NodeReport
            {
                Node = node.Id,
                Machine = node.Machine,
                Held = [.. held],
                Done = [.. done],
                Returned = [.. returned],
                Task = task,
                EndedTask = endedTask,
                Fault = fault,
                WantsWork = wantsWork,
            };
        }
    }
}
