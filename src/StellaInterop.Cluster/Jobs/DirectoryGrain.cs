using System.Text.Json;
using Orleans.Concurrency;
using StellaInterop.Bulk.Planning;
using StellaInterop.Cluster.Membership;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents a job as the list keeps it.</summary>
/// <param name="Folder">The output folder.</param>
/// <param name="Request">The job.</param>
/// <param name="Wish">What the user wants.</param>
/// <param name="Submitted">When it was submitted.</param>
/// <param name="Status">Its state when the list was last stored.</param>
/// <param name="IsRemoved">Whether it leaves the list when it has ended.</param>
internal sealed record StoredJob(string Folder, string Request, JobWish Wish, DateTimeOffset Submitted, JobStatus Status, bool IsRemoved = false);

/// <summary>Represents the stored state of the list, as one text, so that every storage keeps it alike.</summary>
[GenerateSerializer]
[Alias("stella.directory.state")]
internal sealed class DirectoryState
{
    [Id(0)]
    public string Jobs { get; set; } = "[]";
}

/// <summary>Keeps the list of jobs, and of the nodes that say hello.</summary>
/// <remarks>The list is stored in the database of the cluster. The frequent reports of nodes and coordinators are in memory only.</remarks>
internal sealed class DirectoryGrain(
    [PersistentState("directory", ClusterConfiguration.StorageName)] IPersistentState<DirectoryState> stored, TimeProvider clock) : Grain, IDirectoryGrain
{
    /// <summary>The number of ended jobs in the list, of which the oldest leave it.</summary>
    private const int EndedJobs = 200;

    /// <summary>The time after which a coordinator or a node counts as silent.</summary>
    private static readonly TimeSpan SilentTime = TimeSpan.FromMinutes(1);

    private readonly Dictionary<string, long> heard = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (NodeInfo Info, long Seen)> nodes = new(StringComparer.Ordinal);
    private List<StoredJob> jobs = [];

    public override Task OnActivateAsync(CancellationToken cancellationToken)
    {
        jobs = JsonSerializer.Deserialize(stored.State.Jobs, DirectoryJson.Default.ListStoredJob) ?? [];
        foreach (StoredJob job in jobs)
        {
            // Their coordinators have their time from now on.
            heard[job.Folder] = clock.GetTimestamp();
        }

        return Task.CompletedTask;
    }

    public async Task<string?> SubmitAsync(string request)
    {
        JobRequest job = JobRequest.Parse(request);
        int index = IndexOf(job.Output);
        if (index >= 0 && IsEnding(jobs[index]))
        {
            return $"The cluster still ends the job with the output folder '{job.Output}', which was cancelled. Try again in a moment.";
        }

        if (index >= 0)
        {
            JobRequest before = JobRequest.Parse(jobs[index].Request);
            string[] differences =
            [
                .. BulkPlan.Differences(job.Settings, before.Settings),
                .. before.Inputs.SequenceEqual(job.Inputs) ? (string[])[] : [$"inputs: {string.Join(' ', job.Inputs)} here, {string.Join(' ', before.Inputs)} in the cluster"],
            ];
            if (differences.Length > 0 && !jobs[index].Status.HasEnded)
            {
                return $"The cluster has a job with the output folder '{job.Output}' and other settings: {string.Join("; ", differences).Replace("in the output folder", "in the cluster", StringComparison.Ordinal)}. Cancel that job with 'stella jobs cancel', or name another output folder.";
            }
        }

        DateTimeOffset submitted = index >= 0 && !jobs[index].Status.HasEnded ? jobs[index].Submitted : clock.GetUtcNow();
        JobStatus status = index >= 0 && !jobs[index].Status.HasEnded ? jobs[index].Status : new JobStatus { Folder = job.Output };
        await StoreAsync([.. jobs.Where(other => other.Folder != job.Output), new StoredJob(job.Output, request, JobWish.Run, submitted, status)]).ConfigureAwait(true);
        return null;
    }

    public async Task<bool> WishAsync(string folder, JobWish wish)
    {
        int index = IndexOf(folder);
        if (index < 0 || jobs[index].Status.HasEnded)
        {
            return false;
        }

        // A job that no node works on cannot tell that it is cancelled.
        JobStatus status = wish == JobWish.Cancel && IsSilent(folder) ? jobs[index].Status with { Phase = JobPhase.Cancelled } : jobs[index].Status;
        await StoreAsync(With(index, jobs[index] with { Wish = wish, Status = status })).ConfigureAwait(true);
        return true;
    }

    public async Task<bool> RemoveAsync(string folder)
    {
        int index = IndexOf(folder);
        if (index < 0)
        {
            return false;
        }

        List<StoredJob> changed = jobs[index].Status.HasEnded || IsSilent(folder)
            ? [.. jobs.Where(job => job.Folder != folder)]
            : With(index, jobs[index] with { Wish = JobWish.Cancel, IsRemoved = true });
        await StoreAsync(changed).ConfigureAwait(true);
        return true;
    }

    public async Task<IReadOnlyList<JobEntry>> HelloAsync(NodeInfo node)
    {
        nodes[node.Id] = (node, clock.GetTimestamp());
        foreach (string silent in nodes.Where(other => clock.GetElapsedTime(other.Value.Seen) > SilentTime).Select(other => other.Key).ToArray())
        {
            nodes.Remove(silent);
        }

        if (jobs.Any(job => IsEnding(job) && IsSilent(job.Folder)))
        {
            // Their coordinators ended before they could tell.
            await StoreAsync(
            [
                .. jobs.Where(job => !IsEnding(job) || !job.IsRemoved || !IsSilent(job.Folder))
                    .Select(job => IsEnding(job) && IsSilent(job.Folder) ? job with { Status = job.Status with { Phase = JobPhase.Cancelled } } : job),
            ]).ConfigureAwait(true);
        }

        return [.. jobs.Where(job => !job.Status.HasEnded).OrderBy(job => job.Submitted).Select(job => new JobEntry(job.Folder, job.Request, job.Wish))];
    }

    public async Task<JobOrder?> StatusAsync(JobStatus status)
    {
        int index = IndexOf(status.Folder);
        if (index < 0 || jobs[index].Status.HasEnded)
        {
            return null;
        }

        heard[status.Folder] = clock.GetTimestamp();
        var order = new JobOrder(jobs[index].Wish, JobRequest.Parse(jobs[index].Request).MaxErrors);
        if (status.HasEnded)
        {
            // A coordinator that found the job complete has no figures.
            JobStatus last = status.ChunkCount > 0 ? status : jobs[index].Status with { Phase = status.Phase, Message = status.Message, FailureCode = status.FailureCode };
            List<StoredJob> changed = jobs[index].IsRemoved
                ? [.. jobs.Where(job => job.Folder != status.Folder)]
                : With(index, jobs[index] with { Status = last });
            await StoreAsync(changed).ConfigureAwait(true);
            return order;
        }

        if (status.Phase != JobPhase.Waiting)
        {
            jobs[index] = jobs[index] with { Status = status };
        }

        return order;
    }

    public Task<ClusterStatus> ListAsync() => Task.FromResult(new ClusterStatus(
        [
            .. jobs.Where(job => !job.IsRemoved).OrderBy(job => job.Submitted).Select(job => new ListedJob(
                new JobEntry(job.Folder, job.Request, job.Wish),
                job.Status,
                job.Submitted,
                heard.TryGetValue(job.Folder, out long time) ? clock.GetElapsedTime(time) : null)),
        ],
        [.. nodes.Values.OrderBy(node => node.Info.Address, StringComparer.Ordinal).Select(node => new NodeStatus(node.Info, clock.GetElapsedTime(node.Seen)))]));

    private int IndexOf(string folder) => jobs.FindIndex(job => job.Folder == folder);

    private static bool IsEnding(StoredJob job) => !job.Status.HasEnded && job.Wish == JobWish.Cancel;

    private bool IsSilent(string folder) => !heard.TryGetValue(folder, out long time) || clock.GetElapsedTime(time) > SilentTime;

    private List<StoredJob> With(int index, StoredJob job) => [.. jobs.Select((other, i) => i == index ? job : other)];

    /// <summary>Stores the list, and takes it over if that succeeded.</summary>
    private async Task StoreAsync(List<StoredJob> changed)
    {
        int surplus = changed.Count(job => job.Status.HasEnded) - EndedJobs;
        List<StoredJob> kept = [.. changed.Where(job => !job.Status.HasEnded || surplus-- <= 0)];
        string before = stored.State.Jobs;
        stored.State.Jobs = JsonSerializer.Serialize(kept, DirectoryJson.Default.ListStoredJob);
        try
        {
            await stored.WriteStateAsync().ConfigureAwait(true);
        }
        catch
        {
            stored.State.Jobs = before;
            throw;
        }

        jobs = kept;
    }
}
