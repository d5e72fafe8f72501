using StellaInterop.Bulk.Jobs;

namespace StellaInterop.Bulk;

/// <summary>
/// Embeds files into an output folder, in memory that does not grow with the input. A run that was stopped, by whatever, continues when the
/// same job is run again.
/// </summary>
/// <remarks>
/// <para>
/// The job cuts the rows of its inputs into chunks and makes one part of each. A part is in the output folder as a whole or not at all. The
/// plan, the parts and the rows at fault are files there, and the job keeps nothing elsewhere. Any number of processes may run one job at
/// once, also on several machines that share the folder.
/// </para>
/// <para>A row at fault does not end the job: the folder <c>_errors</c> has it, with the reason. Thread-safe.</para>
/// </remarks>
public sealed class StellaBulkJob
{
    private readonly StellaBulkOptions options;
    private readonly JobParts parts;

    /// <summary>Initializes a job. Reads and loads nothing.</summary>
    /// <param name="pool">The pool that computes the vectors. The job does not dispose it.</param>
    /// <param name="options">The options.</param>
    /// <exception cref="ArgumentNullException">An argument or an option is null.</exception>
    /// <exception cref="ArgumentException">An option is outside its range; the message names it.</exception>
    public StellaBulkJob(StellaEmbeddingPool pool, StellaBulkOptions options)
        : this(new JobParts(new PoolEmbedder(Checked(pool), Checked(options))), options)
    {
    }

    internal StellaBulkJob(JobParts parts, StellaBulkOptions options)
    {
        // A copy of the lists, which the caller may change.
        this.options = Checked(options) with { Inputs = [.. options.Inputs], Dimensions = [.. options.Dimensions] };
        this.parts = parts;
    }

    /// <summary>Makes the plan without running it, or reads it from the output folder of a job that has begun. Writes nothing.</summary>
    /// <param name="measuringTime">
    /// The time in which rows of the input are embedded to estimate the time of the job; zero, the default, for no estimate.
    /// </param>
    /// <param name="progress">Receives the progress.</param>
    /// <param name="cancellationToken">A token that stops the planning.</param>
    /// <inheritdoc cref="RunAsync" path="/exception"/>
    public async Task<StellaBulkPlan> PlanAsync(
        TimeSpan measuringTime = default, IProgress<StellaBulkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        using var run = new BulkRun(options, parts, progress);
        return await run.PlanAsync(measuringTime, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Runs the job to its end, or continues it.</summary>
    /// <remarks>When the output is complete already, the run checks the hash of each part.</remarks>
    /// <param name="progress">Receives the progress, on any thread and often. A receiver that blocks delays the job.</param>
    /// <param name="cancellationToken">A token that stops the run. Committed parts stay, and the files of the chunk in hand are deleted.</param>
    /// <exception cref="StellaBulkException">An input or the output is at fault; <see cref="StellaBulkException.Code"/> tells how.</exception>
    /// <exception cref="StellaException">The model could not be loaded, or failed; <see cref="StellaException.Code"/> tells how.</exception>
    /// <exception cref="ObjectDisposedException">The pool is disposed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async Task<StellaBulkResult> RunAsync(
        IProgress<StellaBulkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        using var run = new BulkRun(options, parts, progress);
        return await run.RunAsync(cancellationToken).ConfigureAwait(false);
    }

    private static StellaBulkOptions Checked(StellaBulkOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        return options;
    }

    private static StellaEmbeddingPool Checked(StellaEmbeddingPool pool)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return pool;
    }
}
