using Orleans.Concurrency;

namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents the coordinator of a job. Its key is the output folder.</summary>
[Alias("stella.job")]
internal interface IJobGrain : IGrainWithStringKey
{
    /// <summary>Introduces a node. The first node begins the job and decides level and version for all.</summary>
    /// <param name="node">The node.</param>
    /// <param name="request">The job, as <see cref="JobRequest.ToJson"/> writes it.</param>
    /// <returns>Why the node is refused; empty if the job has ended; <see langword="null"/> if the node may work.</returns>
    [Alias("open")]
    [AlwaysInterleave]
    Task<string?> OpenAsync(NodeInfo node, string request);

    /// <summary>Takes a report of a node, and gives it work.</summary>
    /// <remarks>A call that gets no answer ends soon, because leases are renewed by the next one.</remarks>
    [Alias("report")]
    [ResponseTimeout("00:00:05")]
    Task<JobAnswer> ReportAsync(NodeReport report);
}

/// <summary>Represents the list of jobs and nodes. Its key is 0.</summary>
[Alias("stella.directory")]
internal interface IDirectoryGrain : IGrainWithIntegerKey
{
    /// <summary>Adds a job. A job that failed or was paused goes on.</summary>
    /// <returns>Why it is refused; <see langword="null"/> if it was added, or is there with the same settings.</returns>
    [Alias("submit")]
    Task<string?> SubmitAsync(string request);

    /// <summary>Records what the user wants of a job.</summary>
    /// <returns><see langword="false"/> if there is no such job.</returns>
    [Alias("wish")]
    Task<bool> WishAsync(string folder, JobWish wish);

    /// <summary>Removes a job from the list. A job that runs is cancelled first.</summary>
    /// <returns><see langword="false"/> if there is no such job.</returns>
    [Alias("remove")]
    Task<bool> RemoveAsync(string folder);

    /// <summary>Records that a node is there.</summary>
    /// <returns>The jobs to work on, oldest first.</returns>
    [Alias("hello")]
    Task<IReadOnlyList<JobEntry>> HelloAsync(NodeInfo node);

    /// <summary>Records the state of a job.</summary>
    /// <returns>The wish of the user; <see langword="null"/> if the job is not in the list, or has ended there.</returns>
    [Alias("status")]
    Task<JobOrder?> StatusAsync(JobStatus status);

    /// <summary>Returns the jobs, the oldest first, and the nodes.</summary>
    [Alias("list")]
    [AlwaysInterleave]
    Task<ClusterStatus> ListAsync();
}
