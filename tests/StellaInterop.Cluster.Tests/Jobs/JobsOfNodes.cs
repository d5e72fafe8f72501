using System.Text.Json;
using StellaInterop.Bulk;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Cluster.Leases;
using StellaInterop.Cluster.Membership;
using StellaInterop.Cluster.Nodes;
using StellaInterop.Cluster.Tests.Membership;
using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests.Jobs;

/// <summary>A cluster of nodes in this process, and a shared folder with inputs and outputs.</summary>
internal sealed class JobsOfNodes : IAsyncDisposable
{
    /// <summary>The number of rows of the input, unless a test gives its rows.</summary>
    public const int RowCount = 200;

    /// <summary>The time after which a test that waits in vain fails.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly TemporaryFolder folder = new();
    private readonly TestCluster cluster = new(ClusterAddress.Parse($"localhost:{FreePort.Find()}"));
    private IDirectoryGrain? directory;

    /// <summary>The ids and texts of the input, one on each line.</summary>
    public static IEnumerable<(string Id, string Text)> Rows(int count) => Enumerable.Range(0, count).Select(i => ($"id{i}", $"this is the text of row {i}"));

    public StellaBulkOptions Options(string output, IEnumerable<(string Id, string Text)>? rows = null)
    {
        string input = folder.File($"{output}.jsonl");
        File.WriteAllLines(input, (rows ?? Rows(RowCount)).Select(row => JsonSerializer.Serialize(new { id = row.Id, text = row.Text })));
        return new StellaBulkOptions { Inputs = [input], Output = folder.File(output), ChunkTokens = 40, Format = StellaBulkFormat.JsonLines };
    }

    /// <summary>Starts a node.</summary>
    /// <param name="embedder">Computes its vectors.</param>
    /// <param name="level">The level of its processor.</param>
    /// <param name="version">Its version.</param>
    /// <param name="fault">Is called before each operation on a folder that writes.</param>
    /// <param name="policy">The times and limits of its leases; <see langword="null"/> for those of a node as shipped.</param>
    public Task<NodeEndpoints> StartNodeAsync(
        IEmbedder? embedder = null, string level = "avx2", string version = "1", Action<string>? fault = null, LeasePolicy? policy = null) =>
        cluster.StartNodeAsync(configure: silo => silo.AddNode(new NodeOptions
        {
            ModelName = "test",
            Level = level,
            Version = version,
            Policy = policy ?? LeasePolicy.Default,
            OpenFolder = path => new FaultyFolder(new DiskFolder(path), fault ?? (_ => { })),
            CreateEmbedder = _ => embedder ?? new TestEmbedder(),
        }));

    public Task StopNodeAsync(NodeEndpoints node) => cluster.StopNodeAsync(node);

    public async Task<string?> SubmitAsync(StellaBulkOptions options, TestEmbedder? embedder = null)
    {
        JobRequest job = JobRequest.Of(options, JobSettings.Of(options, (embedder ?? new TestEmbedder()).Info));
        JobFolder.Begin(job);
        return await (await DirectoryAsync()).SubmitAsync(job.ToJson());
    }

    public async Task<ClusterStatus> ListAsync() => await (await DirectoryAsync()).ListAsync();

    public async Task WishAsync(StellaBulkOptions options, JobWish wish) =>
        Assert.That(await (await DirectoryAsync()).WishAsync(JobRequest.FolderOf(options.Output), wish), Is.True);

    /// <summary>Waits until something is true of the cluster.</summary>
    public async Task<ClusterStatus> UntilAsync(Predicate<ClusterStatus> condition)
    {
        using var limit = new CancellationTokenSource(Patience);
        while (true)
        {
            ClusterStatus status = await ListAsync();
            if (condition(status))
            {
                return status;
            }

            if (limit.IsCancellationRequested)
            {
                throw new TimeoutException(JsonSerializer.Serialize(status));
            }

            await Task.Delay(50);
        }
    }

    public Task<ClusterStatus> UntilPhaseAsync(JobPhase phase) => UntilAsync(status => status.Jobs.Any(job => job.Status.Phase == phase));

    /// <summary>
    /// The files of an output by name, but those that another run may write otherwise. A node that has not left the job yet has a lock in the folder
    /// of temporary files.
    /// </summary>
    public static IReadOnlyDictionary<string, string> Files(string output) => Directory.EnumerateFiles(output, "*", SearchOption.AllDirectories)
        .Select(file => Path.GetRelativePath(output, file))
        .Where(name => name != OutputNames.Manifest && !name.StartsWith(SystemPath.Of($"{OutputNames.TemporaryFolder}/"), StringComparison.Ordinal))
        .ToDictionary(name => name, name => File.ReadAllText(Path.Combine(output, name)));

    public async ValueTask DisposeAsync()
    {
        await cluster.DisposeAsync();
        folder.Dispose();
    }

    private async Task<IDirectoryGrain> DirectoryAsync() => directory ??= (await cluster.StartClientAsync())!.GetGrain<IDirectoryGrain>(0);
}
