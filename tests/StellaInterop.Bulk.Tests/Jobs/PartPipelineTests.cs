using System.Text.Json;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

/// <summary>Tests parts that nobody wants any more.</summary>
internal sealed class PartPipelineTests
{
    private const int RowCount = 40;

    [Test]
    public async Task A_part_that_is_not_wanted_any_more_is_not_computed_to_its_end_and_harms_no_other()
    {
        using var folder = new TemporaryFolder();
        string input = folder.File("input.jsonl");
        await File.WriteAllLinesAsync(input, Enumerable.Range(0, RowCount).Select(i => JsonSerializer.Serialize(new { id = $"id{i}", text = $"this is the text of row {i}" })));
        var options = new StellaBulkOptions { Inputs = [input], Output = folder.File("output"), ChunkTokens = 100, Format = StellaBulkFormat.JsonLines };
        var embedder = new TestEmbedder();
        using var setup = new JobSetup(options, new JobParts(embedder) { BlockRows = 1 });
        OutputOwner.CreateFolders(setup.Folder);
        JobOutput output = setup.OpenOutput(setup.Prepare(embedder.Info, keepsCopies: false, _ => { }, CancellationToken.None).Manifest, embedder.Info);
        BulkPlan plan = output.Manifest.Plan;
        Assert.That(plan.Chunks[0].RowCount, Is.GreaterThan(8));

        var work = new Work(plan.Chunks.Count, wantedPieces: 2);
        await new PartPipeline(setup, output, embedder.Info, embedder, work).RunAsync(CancellationToken.None);

        Assert.That(work.GivenUp, Is.EqualTo(new[] { new PartId(0) }));
        Assert.That(output.ReadCommitted().Missing(), Is.EqualTo(new[] { new PartId(0) }));
        Assert.That(embedder.Computed, Has.Count.EqualTo(RowCount - plan.Chunks[0].RowCount + 2));
        await new PartPipeline(setup, output, embedder.Info, embedder, new Work(1, int.MaxValue)).RunAsync(CancellationToken.None);
        Assert.That(output.TryComplete()?.Sum(part => part.Counts.Rows), Is.EqualTo(RowCount));
    }

    /// <summary>Gives the first chunks, and wants some pieces of the first one.</summary>
    private sealed class Work(int chunks, int wantedPieces) : IPartWork
    {
        private int next;
        private int pieces;

        public List<PartId> GivenUp { get; } = [];

        public ValueTask<PartTask?> TakeAsync(CancellationToken stop) => ValueTask.FromResult(next < chunks ? new PartTask(new PartId(next++)) : null);

        public bool IsWanted(PartTask task) => task.Part.Chunk > 0 || pieces++ < wantedPieces;

        public ValueTask GivenUpAsync(PartTask task)
        {
            GivenUp.Add(task.Part);
            return ValueTask.CompletedTask;
        }

        public void Embedded(int rows, long tokens)
        {
        }

        public void Failed(PartTask task, Exception error)
        {
        }

        public ValueTask DoneAsync(PartTask task, PartCounts counts, bool isCommitted, string? lastFault) => ValueTask.CompletedTask;
    }
}
