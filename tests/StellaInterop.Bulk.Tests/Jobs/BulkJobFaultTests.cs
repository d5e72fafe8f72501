using System.Text;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Jobs;
using StellaInterop.Bulk.Planning;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

/// <summary>Tests bulk jobs that are refused, that end early, or whose output is damaged.</summary>
internal sealed class BulkJobFaultTests
{
    [Test]
    public async Task Other_settings_are_refused_with_the_difference()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync();
        Refused(new TestEmbedder(), options => options with { Prompt = StellaPrompt.SearchQuery }, "prompt: s2p here, none in the output folder");
        Refused(new TestEmbedder(), options => options with { ChunkTokens = 50 }, "chunk_tokens: 50 here, 40 in the output folder");
        Refused(new TestEmbedder(model: 1), options => options, "model_fingerprint_4: model1-4 here, model0-4");
        Assert.That(async () => await folder.RunAsync(options: options => options with { MaxErrors = 5, Deduplicate = true }), Throws.Nothing);

        void Refused(IEmbedder embedder, Func<StellaBulkOptions, StellaBulkOptions> options, string message) => Assert.That(
            async () => await folder.RunAsync(embedder, options),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.SettingsDiffer).And.Message.Contain(message));
    }

    [Test]
    public async Task Other_input_files_are_refused_and_touched_ones_are_not()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync();
        File.SetLastWriteTimeUtc(folder.InputFile("a.rows"), new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        Assert.That(async () => await folder.RunAsync(), Throws.Nothing);
        File.AppendAllText(folder.InputFile("a.rows"), "id|more\n");
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.InputChanged).And.Message.Contain("a.rows"));
        _ = folder.ManyRows().Input("c.rows", "id|new");
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.SettingsDiffer).And.Message.Contain("'c.rows' is new"));
    }

    [Test]
    public async Task An_input_that_changes_during_the_run_ends_it()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        var embedder = new TestEmbedder
        {
            Before = (_, _) =>
            {
                _ = folder.Input("b.rows", Enumerable.Range(0, 30).Select(i => $"id{i}|another text of another row {i}"));
                return Task.CompletedTask;
            },
        };
        Assert.That(
            async () => await folder.RunAsync(embedder),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.InputChanged).And.Message.Contain("b.rows"));
        Assert.That(folder.IsComplete, Is.False);
        _ = folder.ManyRows();
        _ = await folder.RunAsync();
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
    }

    [Test]
    public async Task A_folder_with_something_else_is_refused()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        Directory.CreateDirectory(folder.OutputPath);
        await File.WriteAllTextAsync(Path.Combine(folder.OutputPath, "notes.txt"), "");
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputRefused).And.Message.Contain("'notes.txt'"));
    }

    [Test]
    public async Task A_job_that_was_stopped_while_it_planned_plans_anew()
    {
        using JobFolder folder = new JobFolder().ManyRows(20_000);
        using var stop = new CancellationTokenSource();
        var reports = new List<StellaBulkProgress>();
        Assert.That(
            async () => await folder.Job(new TestEmbedder()).RunAsync(new ProgressReceiver(reports, stop), stop.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(reports, Is.Not.Empty.And.All.Property(nameof(StellaBulkProgress.Phase)).EqualTo(StellaBulkPhase.Planning));
        Assert.That(Directory.GetFiles(folder.OutputPath, "*", SearchOption.AllDirectories), Is.Empty);
        // The plan is that of the inputs as they are now.
        _ = folder.ManyRows();
        StellaBulkResult result = await folder.RunAsync();
        Assert.That((result.IsComplete, result.RowCount), Is.EqualTo((true, JobFolder.RowCount)));
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
    }

    [Test]
    public void An_output_folder_that_cannot_be_made_is_refused_before_the_inputs_are_read()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        Assert.That(
            async () => await folder.RunAsync(options: options => options with { Output = Path.Combine(folder.InputFile("a.rows"), "out") }),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputFailed).And.Message.Contain("Check the folder"));
        Assert.That(folder.Rows.OpenCount, Is.Zero);
    }

    [Test]
    public async Task A_damaged_part_is_reported_and_made_again_after_it_is_deleted()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync();
        Dictionary<string, string> parts = folder.Parts;
        string part = Directory.GetFiles(folder.OutputPath, "*.vectors").Order(StringComparer.Ordinal).ElementAt(2);
        await File.AppendAllTextAsync(part, "x");
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputDamaged).And.Message.Contain(Path.GetFileName(part)));
        File.Delete(part);
        _ = await folder.RunAsync();
        Assert.That(folder.Parts, Is.EqualTo(parts));
    }

    /// <summary>A process on another processor has other bits.</summary>
    [Test]
    public async Task A_part_of_several_files_is_of_one_writer_wherever_it_was_stopped()
    {
        for (int stopAt = 1, stops = 1; stops > 0; stopAt++)
        {
            using JobFolder folder = new JobFolder().Input("a.rows", "id0|one", "!id1", "id2|two");
            int steps = 0;
            stops = 0;
            try
            {
                _ = await folder.RunAsync(parts: parts => parts with
                {
                    OpenFolder = path => new FaultyFolder(new DiskFolder(path), _ =>
                    {
                        if (++steps >= stopAt)
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

            Assert.That(async () => await folder.RunAsync(new TestEmbedder(level: 1)), Throws.Nothing, $"{stopAt} operations");
            string[] bits = [.. folder.Parts.Where(part => part.Key.EndsWith(".ids", StringComparison.Ordinal)).Select(part => part.Value.Split('\n')[0].Split(' ')[^1])];
            string[] vectors = [.. folder.Parts.Where(part => part.Key.EndsWith(".vectors", StringComparison.Ordinal)).Select(part => part.Value.Split(' ')[0])];
            Assert.That(bits, Is.EqualTo(vectors), $"{stopAt} operations");
            Assert.That(Directory.GetFiles(Path.Combine(folder.OutputPath, OutputNames.RecordsFolder)).Where(file => !OutputNames.IsRecord(file)), Is.Empty);
        }
    }

    [Test]
    public async Task A_file_of_a_part_that_is_missing_is_reported_and_made_again()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync();
        Dictionary<string, string> parts = folder.Parts;
        string ids = Directory.GetFiles(folder.OutputPath, "*.ids").Order(StringComparer.Ordinal).ElementAt(2);
        string part = Path.GetFileNameWithoutExtension(ids);
        File.Delete(ids);
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputDamaged)
                .And.Message.Contain(Path.GetFileName(ids)).And.Message.Contain($"Delete all files of the part '{part}'"));
        File.Delete(Path.ChangeExtension(ids, ".vectors"));
        _ = await folder.RunAsync();
        Assert.That(folder.Parts, Is.EqualTo(parts));
    }

    [TestCase("part-00000001-00000000.ids", "is not of this job")]
    [TestCase("part-99999999-{0}.ids", "is not of this job")]
    [TestCase("part-00000003-{0}.vectors", "has no record")]
    public async Task A_foreign_part_is_reported(string name, string message)
    {
        using JobFolder folder = new JobFolder().ManyRows();
        _ = await folder.RunAsync(options: options => options with { Shard = 1, ShardCount = 2 });
        string hash = Path.GetFileNameWithoutExtension(Directory.GetFiles(folder.OutputPath, "*.ids")[0])[^8..];
        string foreign = string.Format(System.Globalization.CultureInfo.InvariantCulture, name, hash);
        await File.WriteAllTextAsync(Path.Combine(folder.OutputPath, foreign), "foreign");
        Assert.That(
            async () => await folder.RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputDamaged)
                .And.Message.Contain(foreign).And.Message.Contain(message));
    }

    [Test]
    public async Task A_cancelled_run_leaves_no_temporary_files_and_continues()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        using var stop = new CancellationTokenSource();
        int blocks = 0;
        var embedder = new TestEmbedder
        {
            Before = async (_, token) =>
            {
                if (++blocks == 8)
                {
                    await stop.CancelAsync();
                }

                token.ThrowIfCancellationRequested();
            },
        };
        Assert.That(async () => await folder.Job(embedder).RunAsync(cancellationToken: stop.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(folder.Temporaries, Is.Empty);
        Assert.That(folder.IsComplete, Is.False);
        _ = await folder.RunAsync();
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
    }

    [Test]
    public async Task A_full_disk_is_a_typed_error_and_the_run_continues()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        int flushes = 0;
        Assert.That(
            async () => await folder.RunAsync(parts: parts => parts with
            {
                OpenFolder = path => new FaultyFolder(new DiskFolder(path), operation =>
                {
                    if (operation == "flush" && ++flushes == 9)
                    {
                        throw new IOException("No space left on device", OperatingSystem.IsWindows() ? unchecked((int)0x80070070) : OutputErrors.NoSpace);
                    }
                }),
            }),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputFull).And.Message.Contain("Make room"));
        Assert.That(folder.Temporaries, Is.Empty);
        _ = await folder.RunAsync();
        Assert.That(folder.Ids, Is.EqualTo(JobFolder.AllIds));
    }

    [Test]
    public async Task An_error_of_the_model_ends_the_run()
    {
        using JobFolder folder = new JobFolder().ManyRows();
        var embedder = new TestEmbedder
        {
            Before = (texts, _) => texts.Any(text => text.EndsWith("row 20", StringComparison.Ordinal))
                ? throw new StellaException(StellaErrorCode.Panic, "It failed.")
                : Task.CompletedTask,
        };
        Assert.That(
            async () => await folder.RunAsync(embedder), Throws.TypeOf<StellaException>().With.Property("Code").EqualTo(StellaErrorCode.Panic));
        _ = await folder.RunAsync();
        Assert.That(folder.IsComplete, Is.True);
    }
}
