namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents <c>_cluster/job.json</c>: the job, and what its first node decided for all of them.</summary>
/// <param name="Level">The level of the processor, whose bits all parts have.</param>
/// <param name="Version">The version of the program.</param>
/// <param name="Request">The job.</param>
internal sealed record PinnedJob(string Level, string Version, JobRequest Request);
