namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents <c>_cluster/job.json</c>: the job, and what its first node decided for all of them.</summary>
/// <param name="Level">The level of the processor, whose bits all parts have.</param>
/// <param name="Version">The version of the program.</param>
/// <param name="Leases">
/// The folder of the leases, which is another one each time that the job is submitted. So a node that slept while its job was cancelled and submitted again
/// finds no folder for its claim.
/// </param>
/// <param name="Request">The job.</param>
internal sealed record PinnedJob(string Level, string Version, string Leases, JobRequest Request);
