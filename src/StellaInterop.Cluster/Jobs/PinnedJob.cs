namespace StellaInterop.Cluster.Jobs;

/// <summary>Represents <c>_cluster/job.json</c>: the job as it was submitted.</summary>
/// <param name="Leases">
/// The folder of the leases, which is another one each time that the job is submitted. So a node that slept while its job was cancelled and submitted again
/// finds no folder for its claim.
/// </param>
/// <param name="Request">The job.</param>
internal sealed record PinnedJob(string Leases, JobRequest Request);

/// <summary>Represents what the first node of a job decides for all of them, in a file that outlives a cancelled job.</summary>
/// <param name="Level">The level of the processor.</param>
/// <param name="Version">The version of the program.</param>
internal sealed record PinnedBits(string Level, string Version);
