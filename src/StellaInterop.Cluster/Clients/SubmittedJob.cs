using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Cluster.Jobs;

namespace StellaInterop.Cluster.Clients;

/// <summary>Makes the request of a job of a cluster, and reads its result, on the machine of the user.</summary>
internal static class SubmittedJob
{
    /// <summary>Finds the inputs, loads the model for its fingerprints, and describes the job.</summary>
    /// <param name="pool">The pool with the model that the nodes have too.</param>
    /// <param name="options">The options of the job.</param>
    /// <param name="cancellationToken">Ends the loading.</param>
    /// <exception cref="ArgumentException">An option is outside its range; the message names it.</exception>
    /// <exception cref="StellaBulkException">An input names no file.</exception>
    public static async Task<JobRequest> CreateRequestAsync(StellaEmbeddingPool pool, StellaBulkOptions options, CancellationToken cancellationToken)
    {
        options.Check();
        var embedder = new PoolEmbedder(pool, options);
        // The nodes would wait for inputs that they do not see.
        _ = new JobParts(embedder).FilesOf(options);
        EmbedderInfo model = await embedder.OpenAsync(cancellationToken).ConfigureAwait(false);
        return JobRequest.Of(options, JobSettings.Of(options, model));
    }

    /// <summary>Reads the result of a job.</summary>
    /// <param name="output">The output folder.</param>
    /// <param name="elapsed">The time that the job was followed.</param>
    /// <returns><see langword="null"/> if the output is not complete, or is not there yet: a shared folder may show new files late.</returns>
    /// <exception cref="StellaBulkException">The output folder is not that of a job.</exception>
    public static StellaBulkResult? ReadResult(string output, TimeSpan elapsed)
    {
        using var folder = new DiskFolder(output);
        return OutputErrors.Guarded(output, () =>
        {
            if (!folder.Exists(OutputNames.Success) || OutputOwner.ReadManifest(folder) is not { Parts: { } parts } manifest)
            {
                return null;
            }

            PartCounts sum = parts.Aggregate(default(PartCounts), (total, part) => total + part.Counts);
            return new StellaBulkResult
            {
                IsComplete = true,
                ChunkCount = manifest.Plan.Chunks.Count,
                OpenChunkCount = 0,
                CommittedChunkCount = 0,
                RowCount = sum.Rows,
                TokenCount = sum.Tokens,
                TruncatedRowCount = sum.Truncated,
                ErrorCount = sum.Errors,
                DuplicateCount = 0,
                Elapsed = elapsed,
            };
        });
    }
}
