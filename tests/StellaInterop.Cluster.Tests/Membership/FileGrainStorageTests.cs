using System.Text.Json;
using Orleans.Storage;
using StellaInterop.Cluster.Errors;
using StellaInterop.Cluster.Membership;
using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests.Membership;

internal sealed class FileGrainStorageTests
{
    private static readonly GrainId Grain = GrainId.Create("jobs", "all/of:them");

    private TemporaryFolder folder = null!;

    [SetUp]
    public void Create() => folder = new TemporaryFolder();

    [TearDown]
    public void Delete() => folder.Dispose();

    [Test]
    public async Task A_state_outlives_its_storage()
    {
        var written = new GrainState<List<string>>(["a", "b"]);
        await Open().WriteStateAsync("state", Grain, written);
        GrainState<List<string>> read = await ReadAsync();
        Assert.That((read.State, read.ETag, read.RecordExists), Is.EqualTo((new List<string> { "a", "b" }, written.ETag, true)).UsingPropertiesComparer());
    }

    [Test]
    public async Task A_state_that_was_not_written_is_empty()
    {
        GrainState<List<string>> read = await ReadAsync();
        Assert.That((read.State!.Count, read.ETag, read.RecordExists), Is.EqualTo((0, (string?)null, false)));
    }

    [Test]
    public async Task States_of_other_grains_and_names_are_apart()
    {
        await Open().WriteStateAsync("state", Grain, new GrainState<List<string>>(["a"]));
        await Open().WriteStateAsync("other", Grain, new GrainState<List<string>>(["b"]));
        await Open().WriteStateAsync("state", GrainId.Create("jobs", "other"), new GrainState<List<string>>(["c"]));
        Assert.That((await ReadAsync()).State, Is.EqualTo(new[] { "a" }));
    }

    [Test]
    public async Task A_writer_with_an_old_state_is_refused()
    {
        var first = new GrainState<List<string>>(["a"]);
        await Open().WriteStateAsync("state", Grain, first);
        GrainState<List<string>> second = await ReadAsync();
        second.State!.Add("b");
        await Open().WriteStateAsync("state", Grain, second);
        Assert.That(() => Open().WriteStateAsync("state", Grain, first), Throws.TypeOf<InconsistentStateException>());
        Assert.That(() => Open().ClearStateAsync("state", Grain, first), Throws.TypeOf<InconsistentStateException>());
        Assert.That(() => Open().WriteStateAsync("state", Grain, new GrainState<List<string>>(["c"])), Throws.TypeOf<InconsistentStateException>());
        Assert.That((await ReadAsync()).State, Is.EqualTo(new[] { "a", "b" }));
    }

    [Test]
    public async Task A_cleared_state_leaves_no_file()
    {
        var state = new GrainState<List<string>>(["a"]);
        await Open().WriteStateAsync("state", Grain, state);
        await Open().ClearStateAsync("state", Grain, state);
        Assert.That((state.ETag, state.RecordExists), Is.EqualTo(((string?)null, false)));
        Assert.That(Directory.GetFiles(folder.Path, "*.json"), Is.Empty);
        await Open().WriteStateAsync("state", Grain, state);
        Assert.That((await ReadAsync()).RecordExists, Is.True);
    }

    [Test]
    public async Task Of_writers_at_once_one_wins()
    {
        bool[] wins = await Task.WhenAll(Enumerable.Range(0, 20).Select(async writer =>
        {
            await Task.Yield();
            try
            {
                await Open().WriteStateAsync("state", Grain, new GrainState<List<string>>([$"{writer}"]));
                return true;
            }
            catch (InconsistentStateException)
            {
                return false;
            }
        }));
        Assert.That(wins.Count(won => won), Is.EqualTo(1));
        Assert.That((await ReadAsync()).State, Is.EqualTo(new[] { $"{Array.IndexOf(wins, true)}" }));
    }

    [Test]
    public async Task A_damaged_state_is_an_error_that_names_its_file()
    {
        await Open().WriteStateAsync("state", Grain, new GrainState<List<string>>(["a"]));
        string file = Directory.GetFiles(folder.Path, "*.json").Single();
        await File.WriteAllTextAsync(file, "[\"a");
        Assert.That(ReadAsync, Throws.TypeOf<ClusterException>().With.Message.Contains(file).And.Message.Contains("delete it"));
    }

    private FileGrainStorage Open() => new(folder.Path, new Serializer());

    private async Task<GrainState<List<string>>> ReadAsync()
    {
        var state = new GrainState<List<string>>();
        await Open().ReadStateAsync("state", Grain, state);
        return state;
    }

    private sealed class Serializer : IGrainStorageSerializer
    {
        public BinaryData Serialize<T>(T? input) => BinaryData.FromObjectAsJson(input);

        public T Deserialize<T>(BinaryData input) => JsonSerializer.Deserialize<T>(input)!;
    }
}
