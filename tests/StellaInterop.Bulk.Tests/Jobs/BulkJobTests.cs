using System.Text;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

/// <summary>Tests the output and the progress of bulk jobs.</summary>
internal sealed class BulkJobTests
{
    [Test]
    public async Task Vectors_have_the_bits_of_the_model()
    {
        using var folder = new JobFolder();
        string[] texts = ["How do solar panels work?", "a cat", "Ein Hund läuft über die Straße.", string.Concat(Enumerable.Repeat("many words ", 2000)), "a cat"];
        folder.Input("a.rows", texts.Select((text, i) => $"id{i}|{text}"));
        await using var pool = new StellaEmbeddingPool(Fixtures.Model("stella-mini"));
        StellaModelInfo info = await pool.WarmUpAsync();
        int[] dimensions = [.. info.Dimensions.Take(2)];
        StellaBulkOptions options = folder.Options with { Dimensions = dimensions, Prompt = StellaPrompt.SearchQuery };
        StellaBulkResult result = await folder.RunAsync(new PoolEmbedder(pool, options), _ => options);
        Assert.That(result.IsComplete, Is.True);
        Assert.That(result.TruncatedRowCount, Is.EqualTo(1));
        using StellaModel model = StellaModel.Load(Fixtures.Model("stella-mini"));
        StellaEmbeddings[] expected =
            [.. dimensions.Select(dimension => model.Embed(texts, new StellaEmbedOptions { Dimension = dimension, Prompt = StellaPrompt.SearchQuery }))];
        Assert.That(
            folder.Vectors,
            Is.EqualTo(string.Concat(texts.Select((_, i) => string.Concat(expected.Select(vectors => Bits(vectors[i].Span))) + "\n"))));
        Assert.That(result.TokenCount, Is.EqualTo(expected[0].Summary.TokenCount));
    }

    [Test]
    public async Task Every_row_is_there_once_in_order()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        StellaBulkResult result = await folder.RunAsync();
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
        Assert.That(folder.IsComplete, Is.True);
        Assert.That(result.RowCount, Is.EqualTo(JobFolder.RowCount));
        Assert.That(result.ChunkCount, Is.GreaterThan(5).And.EqualTo(result.CommittedChunkCount));
        Assert.That(folder.Temporaries, Is.Empty);
        // One pass plans, and one embeds, each with one reader per file.
        Assert.That(folder.Rows.OpenCount, Is.EqualTo(4));
    }

    [Test]
    public async Task A_run_that_is_stopped_at_any_operation_continues_to_the_same_bytes()
    {
        using JobFolder whole = new JobFolder().ManyRows();
        _ = await whole.RunAsync();
        using JobFolder stopped = new JobFolder().ManyRows();
        int stops = 0;
        for (int stopAt = 1; !stopped.IsComplete; stopAt += 3)
        {
            int steps = 0;
            try
            {
                _ = await stopped.RunAsync(parts: parts => parts with
                {
                    OpenFolder = path => new FaultyFolder(new DiskFolder(path), _ =>
                    {
                        if (Interlocked.Increment(ref steps) >= stopAt)
                        {
                            throw new TimeoutException("stop");
                        }
                    }),
                });
            }
            catch (TimeoutException)
            {
                stops++;
            }
        }

        Assert.That(stops, Is.GreaterThan(3));
        Assert.That(stopped.Parts, Is.EqualTo(whole.Parts));
    }

    [Test]
    public async Task A_complete_job_that_runs_again_computes_nothing()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync();
        var embedder = new TestEmbedder();
        StellaBulkResult again = await folder.RunAsync(embedder);
        Assert.That(again.IsComplete, Is.True);
        Assert.That(again.CommittedChunkCount, Is.Zero);
        Assert.That(embedder.Computed, Is.Empty);
    }

    [Test]
    public async Task Two_processes_on_one_output_both_finish()
    {
        using JobFolder alone = new JobFolder().ManyRows(300);
        _ = await alone.RunAsync();
        using JobFolder folder = new JobFolder().ManyRows(300);
        StellaBulkResult[] results = await Task.WhenAll(folder.RunAsync(), folder.RunAsync());
        Assert.That(results.All(result => result.IsComplete && result.RowCount == 300), Is.True);
        Assert.That(results.Sum(result => result.CommittedChunkCount), Is.EqualTo(results[0].ChunkCount));
        Assert.That(folder.Parts, Is.EqualTo(alone.Parts));
    }

    [Test]
    public async Task A_process_leaves_chunks_that_another_one_made()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        var other = new TestEmbedder();
        bool hasRun = false;
        var embedder = new TestEmbedder { Before = OtherProcessAsync };
        StellaBulkResult result = await folder.RunAsync(embedder);
        Assert.That(result.IsComplete, Is.True);
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
        Assert.That(embedder.Computed, Has.Count.LessThan(JobFolder.RowCount / 2));

        async Task OtherProcessAsync(string[] texts, CancellationToken cancellationToken)
        {
            if (!hasRun)
            {
                hasRun = true;
                _ = await folder.RunAsync(other);
            }
        }
    }

    [Test]
    public async Task Halves_that_a_cluster_has_made_are_kept_and_the_other_halves_are_made()
    {
        using JobFolder whole = new JobFolder().ManyRows();
        _ = await whole.RunAsync();
        using JobFolder folder = new JobFolder().ManyRows();
        await folder.MakeAsync(new PartId(0, "0"), new PartId(1, "1"), new PartId(2, "0"), new PartId(2, "1"), new PartId(3, "10"));
        Dictionary<string, string> halves = folder.Parts;
        var reports = new List<StellaBulkProgress>();
        StellaBulkResult result = await folder.Job(new TestEmbedder()).RunAsync(new ProgressReceiver(reports));

        Assert.That((result.IsComplete, result.RowCount), Is.EqualTo((true, JobFolder.RowCount)));
        Assert.That(result.CommittedChunkCount, Is.EqualTo(result.ChunkCount - 1), "chunk 2 was there");
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
        Assert.That(folder.Vectors, Is.EqualTo(whole.Vectors));
        Assert.That(folder.Parts, Is.SupersetOf(halves));
        IReadOnlyList<PartRecord> records = folder.Manifest.Parts!;
        Assert.That(
            records.Select(record => record.Id.ToString()).TakeWhile(part => part != "00000004"),
            Is.EqualTo(["00000000.0", "00000000.1", "00000001.0", "00000001.1", "00000002.0", "00000002.1", "00000003.0", "00000003.10", "00000003.11"]));
        Assert.That(records.Sum(record => record.Counts.Rows), Is.EqualTo(JobFolder.RowCount));
        Assert.That(
            records.SelectMany(record => record.Hashes),
            Is.EqualTo(folder.Parts.OrderBy(part => part.Key, StringComparer.Ordinal).Select(part => FileContent.Hash(Encoding.UTF8.GetBytes(part.Value)))));
        CheckRanges(reports);
        Assert.That(
            (reports[^1].Phase, reports[^1].CompletedChunkCount, reports[^1].CompletedShare),
            Is.EqualTo((StellaBulkPhase.Checking, result.ChunkCount, 1.0)));
    }

    [Test]
    public async Task Rows_at_fault_are_written_with_their_reason()
    {
        using JobFolder folder = new JobFolder().Input("a.rows", "id0|fine", "!id1", "id2|   ", "", "|a # text");
        StellaBulkResult result = await folder.RunAsync();
        Assert.That(result.ErrorCount, Is.EqualTo(3));
        Assert.That(result.RowCount, Is.EqualTo(1));
        Assert.That(folder.Errors, Is.EqualTo(
        [
            """{"file":"a.rows","row":2,"id":"id1","reason":"null_text","message":"The text is null.","text_length":null}""",
            """{"file":"a.rows","row":3,"id":"id2","reason":"empty_text","message":"The text is empty. Give the row a text, or remove it.","text_length":3}""",
            """{"file":"a.rows","row":5,"id":"a.rows:5","reason":"too_many_tokens","message":"The text has more tokens than the limit of 512. Split it into several rows, or use --on-long-text truncate with another output folder.","text_length":8}""",
        ]));
    }

    [Test]
    public async Task A_vector_beyond_the_range_of_its_format_is_a_row_at_fault()
    {
        using JobFolder folder = new JobFolder().Input("a.rows", "id0|fine", "id1|huge", "id2|fine too");
        StellaBulkResult result = await folder.RunAsync(options: options => options with { VectorType = StellaBulkVectorType.Half, Normalize = false });
        Assert.That((result.RowCount, result.ErrorCount), Is.EqualTo((2, 1)));
        Assert.That(folder.Ids, Is.EqualTo(["id0", "id2"]));
        Assert.That(folder.Errors.Single(), Does.Contain("\"id\":\"id1\",\"reason\":\"no_vector\"").And.Contain("16-bit floats"));
    }

    [TestCase(4, 60)]
    [TestCase(1_000, 3)]
    [TestCase(100_000, 1)]
    public async Task A_block_has_as_many_rows_as_its_memory_has_room_for(int dimension, int rows)
    {
        using JobFolder folder = new JobFolder().ManyRows();
        int longest = 0;
        var embedder = new TestEmbedder(0, 0, dimension)
        {
            Before = (texts, _) =>
            {
                longest = Math.Max(longest, texts.Length);
                return Task.CompletedTask;
            },
        };
        _ = await folder.RunAsync(embedder, options => options with { ChunkTokens = 10_000 }, parts => parts with { BlockRows = 60, BlockBytes = 12_000 });
        Assert.That(longest, Is.EqualTo(rows));
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
    }

    [Test]
    public async Task Vectors_after_a_row_at_fault_stay_with_their_ids()
    {
        using JobFolder folder = new JobFolder().Input("a.rows", "id0|#", "id1|one", "id2|#", "id3|three");
        _ = await folder.RunAsync(parts: parts => parts with { BlockRows = 10 });
        var embedder = new TestEmbedder();
        Assert.That(folder.Ids, Is.EqualTo(["id1", "id3"]));
        Assert.That(
            folder.Parts.Single(part => part.Key.EndsWith(".vectors", StringComparison.Ordinal)).Value,
            Is.EqualTo($"{Bits(embedder.Vector("one", 4))}\n{Bits(embedder.Vector("three", 4))}\n"));
    }

    [Test]
    public async Task Too_many_errors_end_the_job_and_a_higher_limit_continues_it()
    {
        using JobFolder folder = new JobFolder().ManyRows().Input("c.rows", Enumerable.Range(0, 40).Select(i => $"!bad{i}"));
        Assert.That(
            async () => await folder.RunAsync(options: options => options with { MaxErrors = 20 }),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.TooManyErrors)
                .And.Message.Contain("the limit is 20").And.Message.Contain("The text is null."));
        Assert.That(folder.IsComplete, Is.False);
        Assert.That(folder.Errors, Is.Not.Empty, "the rows can be looked at");
        Assert.That(
            async () => await folder.RunAsync(options: options => options with { MaxErrors = 3 }),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.TooManyErrors), "errors of earlier runs count");
        StellaBulkResult result = await folder.RunAsync(options: options => options with { MaxErrors = 40 });
        Assert.That(result.ErrorCount, Is.EqualTo(40));
    }

    [Test]
    public async Task The_last_shard_completes_the_output()
    {
        using JobFolder alone = new JobFolder().ManyRows();
        _ = await alone.RunAsync();
        using JobFolder folder = new JobFolder().ManyRows();
        foreach (int shard in (int[])[2, 1, 3])
        {
            StellaBulkResult result = await folder.RunAsync(options: options => options with { Shard = shard, ShardCount = 3 });
            Assert.That(result.IsComplete, Is.EqualTo(shard == 3));
            Assert.That(result.OpenChunkCount == 0, Is.EqualTo(shard == 3));
            Assert.That(folder.IsComplete, Is.EqualTo(shard == 3));
        }

        Assert.That(folder.Parts, Is.EqualTo(alone.Parts));
    }

    [Test]
    public async Task Equal_texts_are_computed_once_with_the_same_bytes()
    {
        string[] lines = [.. Enumerable.Range(0, 200).Select(i => $"id{i}|text {i * i % 7}{(i % 11 == 0 ? "#" : "")}")];
        using JobFolder plain = new JobFolder().Input("a.rows", lines);
        _ = await plain.RunAsync();
        using JobFolder folder = new JobFolder().Input("a.rows", lines);
        var embedder = new TestEmbedder(0, 0, 4, 7);
        using JobFolder two = new JobFolder().Input("a.rows", lines);
        StellaBulkResult result = await folder.RunAsync(options: options => options with { Deduplicate = true });
        _ = await two.RunAsync(embedder, options => options with { Deduplicate = true });
        Assert.That(folder.Parts, Is.EqualTo(plain.Parts));
        Assert.That(result.DuplicateCount, Is.GreaterThan(120));
        Assert.That(embedder.Computed, Has.Count.LessThan(80));
    }

    /// <summary>Texts come again after 100 others. An entry of the cache takes 4.3 KB, and one of its two generations half of its memory.</summary>
    [TestCase(1000, 300)]
    [TestCase(300, 0)]
    [TestCase(8, 0)]
    public async Task Equal_texts_are_computed_once_as_far_as_the_memory_for_them_reaches(int kilobytes, int found)
    {
        string[] lines = [.. Enumerable.Range(0, 400).Select(i => $"id{i}|text {i % 100}")];
        using JobFolder folder = new JobFolder().Input("a.rows", lines);
        var embedder = new TestEmbedder(0, 0, 1024);
        StellaBulkResult result = await folder.RunAsync(
            embedder, options => options with { Deduplicate = true }, parts => parts with { DuplicateBytes = kilobytes * 1024L });
        Assert.That(result.DuplicateCount, Is.EqualTo(found));
        Assert.That(embedder.Computed, Has.Count.EqualTo(400 - found));
    }

    [Test]
    public async Task Equal_ids_are_all_kept()
    {
        using JobFolder folder = new JobFolder().Input("a.rows", "same|one", "same|two", "other|three").Input("b.rows", "same|one");
        StellaBulkResult result = await folder.RunAsync();
        Assert.That((result.RowCount, result.ErrorCount), Is.EqualTo((4, 0)));
        Assert.That(folder.Ids, Is.EqualTo(["same", "same", "other", "same"]));
    }

    [Test]
    public async Task The_output_folder_may_be_in_the_input_folder()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        string output = folder.InputFile("vectors");
        for (int run = 0; run < 2; run++)
        {
            StellaBulkResult result = await folder.RunAsync(options: options => options with { Output = output });
            Assert.That(result.RowCount, Is.EqualTo(JobFolder.RowCount));
            _ = folder.Input("vectors/more.rows", "id|more");
        }
    }

    [Test]
    public async Task No_rows_are_a_complete_output_without_parts()
    {
        using JobFolder folder = new JobFolder().Input("a.rows");
        StellaBulkResult result = await folder.RunAsync();
        Assert.That(result.IsComplete, Is.True);
        Assert.That(result.ChunkCount, Is.Zero);
        Assert.That(folder.IsComplete, Is.True);
    }

    [Test]
    public async Task A_plan_is_made_without_writing_and_is_that_of_the_run()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        StellaBulkPlan plan = await folder.Job(new TestEmbedder()).PlanAsync();
        Assert.That(Directory.Exists(folder.OutputPath), Is.False);
        Assert.That(plan.RowCount, Is.EqualTo(JobFolder.RowCount));
        Assert.That(plan.EstimatedVectorBytes, Is.EqualTo(JobFolder.RowCount * 16));
        StellaBulkResult result = await folder.RunAsync();
        Assert.That(result.ChunkCount, Is.EqualTo(plan.ChunkCount));
        StellaBulkPlan after = await folder.Job(new TestEmbedder()).PlanAsync();
        Assert.That(after.Hash, Is.EqualTo(plan.Hash));
        Assert.That(after.CommittedChunkCount, Is.EqualTo(plan.ChunkCount));
    }

    [Test]
    public async Task Progress_grows_to_the_whole()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        var reports = new List<StellaBulkProgress>();
        _ = await folder.Job(new TestEmbedder()).RunAsync(new ProgressReceiver(reports));
        StellaBulkProgress[] embedding = [.. reports.Where(report => report.Phase == StellaBulkPhase.Embedding)];
        Assert.That(embedding[^1].CompletedShare, Is.EqualTo(1));
        Assert.That(embedding[^1].CompletedRowCount, Is.EqualTo(JobFolder.RowCount));
        Assert.That(embedding[^1].TimeLeft, Is.EqualTo(TimeSpan.Zero));
        Assert.That(embedding[0].TimeLeft, Is.Null);
        Assert.That(embedding.Select(report => report.CompletedShare), Is.Ordered);
        Assert.That(reports[^1].Phase, Is.EqualTo(StellaBulkPhase.Checking));
        Assert.That(reports[^1].CompletedChunkCount, Is.EqualTo(reports[^1].ChunkCount));
        CheckRanges(reports);
    }

    [Test]
    public void Wrong_options_are_refused()
    {
        using var folder = new JobFolder();
        StellaBulkOptions good = folder.Options;
        StellaBulkOptions[] wrong =
        [
            good with { Inputs = [] }, good with { Inputs = [""] }, good with { Output = "" }, good with { TextColumn = "" }, good with { IdColumn = "" },
            good with { Dimensions = [0] }, good with { Dimensions = [4, 4] }, good with { ChunkTokens = 0 }, good with { MaxErrors = -1 },
            good with { InputFormat = (StellaBulkInputFormat)9 }, good with { VectorType = (StellaBulkVectorType)9 }, good with { ShardCount = 0 }, good with { Shard = 2 }, good with { Shard = 0 }, good with { Format = (StellaBulkFormat)9 },
        ];
        foreach (StellaBulkOptions options in wrong)
        {
            Assert.That(() => folder.Job(new TestEmbedder(), _ => options), Throws.InstanceOf<ArgumentException>(), options.ToString());
        }
    }

    private static void CheckRanges(IReadOnlyList<StellaBulkProgress> reports)
    {
        Assert.That(reports.Select(report => report.CompletedShare), Has.All.InRange(0.0, 1.0));
        Assert.That(reports, Has.All.Matches<StellaBulkProgress>(report => report.CompletedChunkCount <= report.ChunkCount));
        Assert.That(reports, Has.All.Matches<StellaBulkProgress>(report => report.CompletedRowCount <= report.RowCount));
        Assert.That(reports.Select(report => report.TimeLeft ?? TimeSpan.Zero), Has.All.GreaterThanOrEqualTo(TimeSpan.Zero));
    }

    private static string Bits(ReadOnlySpan<float> vector)
    {
        string bits = "";
        foreach (float number in vector)
        {
            bits += $"{BitConverter.SingleToUInt32Bits(number):x8} ";
        }

        return bits;
    }
}
