using System.IO.Compression;
using System.Text;
using System.Text.Json;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Tests.Support;
using StellaInterop.Tests;

namespace StellaInterop.Bulk.Tests.Jobs;

/// <summary>Jobs through the public API: real formats, a real model, a real disk.</summary>
internal sealed class WholeJobTests
{
    private const int RowCount = 60;

    private static readonly string[] Texts = [.. Enumerable.Range(0, RowCount).Select(i => $"Row {i} is \"quoted\", has a comma and an ü.")];

    private StellaEmbeddingPool pool = null!;

    [OneTimeSetUp]
    public void OpenPool() => pool = new StellaEmbeddingPool(Fixtures.Model("stella-mini"));

    [OneTimeTearDown]
    public async Task ClosePool() => await pool.DisposeAsync();

    [Test]
    public async Task Rows_of_all_formats_have_the_vectors_of_the_model([Values(1, 7)] int chunkTokens)
    {
        using TemporaryFolder folder = MixedInput();
        StellaBulkResult result = await new StellaBulkJob(pool, Options(folder, StellaBulkFormat.JsonLines) with { ChunkTokens = 50 * chunkTokens }).RunAsync();
        Assert.That(result.RowCount, Is.EqualTo(RowCount));
        Assert.That(result.ErrorCount, Is.EqualTo(1));
        StellaEmbeddings expected = await pool.EmbedAsync(Texts);
        var rows = new Dictionary<string, float[]>();
        foreach (string line in Directory.GetFiles(folder.File("out"), "part-*.jsonl").SelectMany(File.ReadLines))
        {
            using var row = JsonDocument.Parse(line);
            rows.Add(row.RootElement.GetProperty("id").GetString()!, [.. row.RootElement.GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle())]);
        }

        for (int i = 0; i < RowCount; i++)
        {
            // Text lines have no ids.
            string id = i < 45 ? $"id{i}" : FormattableString.Invariant($"d.txt:{i - 44}");
            Assert.That(rows[id].AsSpan().SequenceEqual(expected[i].Span), Is.True, id);
        }
    }

    [TestCase(StellaBulkInputFormat.JsonLines, "dump.json", "{\"text\":\"a\"}\n{\"text\":\"b\"}")]
    [TestCase(StellaBulkInputFormat.Csv, "table", "text\na\nb")]
    [TestCase(StellaBulkInputFormat.Tsv, "table.csv", "text\tother\na\t1\nb\t2")]
    [TestCase(StellaBulkInputFormat.Text, "data.log", "a\nb")]
    public async Task An_option_names_the_format_of_files_with_other_names(StellaBulkInputFormat format, string name, string content)
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        await File.WriteAllTextAsync(folder.File("in/" + name), content);
        StellaBulkOptions options = Options(folder, StellaBulkFormat.JsonLines) with { InputFormat = format };
        StellaBulkResult result = await new StellaBulkJob(pool, options).RunAsync();
        Assert.That((result.RowCount, result.ErrorCount), Is.EqualTo((2, 0)));
        Assert.That(
            async () => await new StellaBulkJob(pool, options with { InputFormat = StellaBulkInputFormat.Parquet }).RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.SettingsDiffer).And.Message.Contain("input_format: parquet here"));
    }

    [Test]
    public async Task Each_fault_says_what_to_do()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        string longText = string.Concat(Enumerable.Repeat("many words ", 2000));
        await File.WriteAllLinesAsync(
            folder.File("in/a.jsonl"),
            ["{}", "{", "7", "{\"text\": null}", "{\"text\": 7}", "{\"text\": \" \"}", "{\"text\": \"\\ud800\"}", "{\"text\": \"a\", \"id\": []}", $"{{\"text\": \"{longText}\"}}"]);
        await File.WriteAllTextAsync(folder.File("in/b.csv"), "text,id\na\n\"b\"c,d\n\"e,f");
        await File.WriteAllBytesAsync(folder.File("in/c.txt"), [0xff, (byte)'\n', (byte)'a', 0, (byte)'\n', .. Enumerable.Repeat((byte)'x', RowReader.MaxRowBytes + 1)]);
        StellaBulkOptions options = Options(folder, StellaBulkFormat.JsonLines) with { LongTextBehavior = StellaLongTextBehavior.Error };
        StellaBulkResult result = await new StellaBulkJob(pool, options).RunAsync();
        (string Reason, string Message)[] errors =
        [
            .. Directory.GetFiles(folder.File("out/_errors")).SelectMany(File.ReadLines).Select(line =>
            {
                using var error = JsonDocument.Parse(line);
                return (error.RootElement.GetProperty("reason").GetString()!, error.RootElement.GetProperty("message").GetString()!);
            }),
        ];
        Assert.That(errors, Has.Length.EqualTo(result.ErrorCount).And.Length.EqualTo(15));
        // No text of this model lacks a vector.
        Assert.That(
            errors.Select(error => error.Reason).Distinct(),
            Is.EquivalentTo(Enum.GetValues<RowFaultKind>().Except([RowFaultKind.NoVector, RowFaultKind.EndsProcess]).Select(RowFault.ReasonOf)));
        Assert.That(errors.Select(error => error.Message), Has.All.Matches(@"^[A-Z].*\. [A-Z][a-z]+ .*\.$"), "a fault and a remedy");
    }

    [TestCase(StellaBulkFormat.Parquet)]
    [TestCase(StellaBulkFormat.JsonLines)]
    [TestCase(StellaBulkFormat.Npy)]
    public async Task A_job_that_was_stopped_often_has_the_bytes_of_one_that_was_not(StellaBulkFormat format)
    {
        using TemporaryFolder whole = MixedInput();
        _ = await new StellaBulkJob(pool, Options(whole, format)).RunAsync();
        using TemporaryFolder stopped = MixedInput();
        int stops = 0;
        while (!File.Exists(stopped.File("out/_SUCCESS")))
        {
            using var stop = new CancellationTokenSource();
            try
            {
                _ = await new StellaBulkJob(pool, Options(stopped, format)).RunAsync(new StopAfterTwoChunks(stop), stop.Token);
            }
            catch (OperationCanceledException)
            {
                stops++;
            }
        }

        Assert.That(stops, Is.GreaterThan(2));
        Assert.That(Parts(stopped), Is.EqualTo(Parts(whole)));
        Assert.That(Parts(whole), Has.Count.GreaterThan(6));
    }

    [TestCase("a.jsonl.gz")]
    [TestCase("a.jsonl.zst")]
    public async Task A_run_continues_in_a_compressed_input_from_a_copy_that_can_seek(string name)
    {
        using TemporaryFolder whole = LargeInput(name);
        _ = await new StellaBulkJob(pool, Options(whole, StellaBulkFormat.JsonLines)).RunAsync();
        Assert.That(Copies(whole), Is.Empty);
        using TemporaryFolder stopped = LargeInput(name);
        await StopAsync(stopped);
        string copy = Copies(stopped).Single();
        Dictionary<string, string> before = Parts(stopped);

        byte[] content = await File.ReadAllBytesAsync(copy);
        await File.WriteAllBytesAsync(copy, [.. content.Select((value, i) => i % 1000 == 999 ? (byte)~value : value)]);
        Assert.That(
            async () => await new StellaBulkJob(pool, Options(stopped, StellaBulkFormat.JsonLines)).RunAsync(),
            Throws.TypeOf<StellaBulkException>().With.Property("Code").EqualTo(StellaBulkErrorCode.OutputDamaged)
                .And.Message.Contain("_inputs/").And.Message.Contain("delete it, and run the job again"));
        Assert.That(Parts(stopped), Is.EqualTo(before));

        // Without the copy, the input is read from its begin.
        File.Delete(copy);
        await StopAsync(stopped);
        Assert.That(Parts(stopped), Has.Count.GreaterThan(before.Count));
        await File.WriteAllBytesAsync(copy, content);
        _ = await new StellaBulkJob(pool, Options(stopped, StellaBulkFormat.JsonLines)).RunAsync();
        Assert.That(Parts(stopped), Is.EqualTo(Parts(whole)));
        Assert.That(Copies(stopped), Is.Empty);

        async Task StopAsync(TemporaryFolder folder)
        {
            using var stop = new CancellationTokenSource();
            Assert.That(
                async () => await new StellaBulkJob(pool, Options(folder, StellaBulkFormat.JsonLines)).RunAsync(new StopAfterTwoChunks(stop), stop.Token),
                Throws.InstanceOf<OperationCanceledException>());
        }
    }

    [Test]
    public async Task A_copy_of_a_run_that_was_killed_while_it_planned_is_no_obstacle()
    {
        using TemporaryFolder folder = MixedInput();
        Directory.CreateDirectory(folder.File("out/_inputs"));
        await File.WriteAllTextAsync(folder.File("out/_inputs/0.zst"), "");
        StellaBulkResult result = await new StellaBulkJob(pool, Options(folder, StellaBulkFormat.JsonLines)).RunAsync();
        Assert.That((result.IsComplete, Copies(folder).Length), Is.EqualTo((true, 0)));
    }

    [Test]
    public async Task A_plan_makes_no_copy()
    {
        using TemporaryFolder folder = LargeInput("a.jsonl.gz");
        _ = await new StellaBulkJob(pool, Options(folder, StellaBulkFormat.JsonLines)).PlanAsync();
        Assert.That(Directory.Exists(folder.File("out")), Is.False);
    }

    [Test]
    public async Task Parts_errors_and_manifest_have_their_names()
    {
        using TemporaryFolder folder = MixedInput();
        StellaBulkOptions options = Options(folder, StellaBulkFormat.Parquet) with { ChunkTokens = 1 << 20 };
        StellaBulkPlan plan = await new StellaBulkJob(pool, options).PlanAsync();
        _ = await new StellaBulkJob(pool, options).RunAsync();
        string part = $"part-00000000-{plan.Hash[..8]}";
        Assert.That(
            Directory.GetFiles(folder.File("out"), "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(folder.File("out"), file).Replace('\\', '/'))
                .Where(file => !file.StartsWith(OutputNames.RecordsFolder, StringComparison.Ordinal)).Order(StringComparer.Ordinal),
            Is.EqualTo(["_SUCCESS", $"_errors/{part}.jsonl", "_manifest.json", $"{part}.parquet"]));
        using var manifest = JsonDocument.Parse(await File.ReadAllBytesAsync(folder.File("out/_manifest.json")));
        Assert.That(manifest.RootElement.GetProperty("plan_hash").GetString(), Is.EqualTo(plan.Hash));
        Assert.That(manifest.RootElement.GetProperty("rows").GetInt64(), Is.EqualTo(RowCount));
        Assert.That(manifest.RootElement.GetProperty("errors").GetInt64(), Is.EqualTo(1));
        Assert.That(manifest.RootElement.GetProperty("plan").GetProperty("files").GetArrayLength(), Is.EqualTo(4));
    }

    /// <summary>Writes a compressed file with few texts in 20 MB.</summary>
    private static TemporaryFolder LargeInput(string name)
    {
        var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        string filler = string.Concat(Enumerable.Range(0, 50_000).Select(i => $"{i * 7919L % 100_003:x5} "));
        byte[] content = Encoding.UTF8.GetBytes(string.Concat(Texts.Select((text, i) => $"{{\"id\": \"id{i}\", \"other\": \"{i} {filler}\", \"text\": {JsonSerializer.Serialize(text)}}}\n")));
        File.WriteAllBytes(folder.File("in/" + name), name.EndsWith(".gz", StringComparison.Ordinal) ? InputContent.Gzip(content) : InputContent.Zstd(content));
        return folder;
    }

    private static string[] Copies(TemporaryFolder folder) =>
        Directory.Exists(folder.File("out/_inputs")) ? Directory.GetFiles(folder.File("out/_inputs")) : [];

    private static StellaBulkOptions Options(TemporaryFolder folder, StellaBulkFormat format) => new()
    {
        Inputs = [folder.File("in")],
        Output = folder.File("out"),
        Format = format,
        ChunkTokens = 80,
    };

    /// <summary>Writes the texts as JSON Lines, gzipped JSON Lines, CSV and text lines, and one row at fault.</summary>
    private static TemporaryFolder MixedInput()
    {
        var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder.File("in"));
        File.WriteAllLines(folder.File("in/a.jsonl"), Json(0, 15).Append("""{"id": "bad", "text": null}"""));
        using (var zip = new GZipStream(File.Create(folder.File("in/b.jsonl.gz")), CompressionLevel.Fastest))
        {
            zip.Write(Encoding.UTF8.GetBytes(string.Join('\n', Json(15, 30))));
        }

        File.WriteAllText(folder.File("in/c.csv"), "id,text\r\n" + string.Concat(
            Enumerable.Range(30, 15).Select(i => $"id{i},\"{Texts[i].Replace("\"", "\"\"", StringComparison.Ordinal)}\"\r\n")));
        File.WriteAllLines(folder.File("in/d.txt"), Texts[45..]);
        return folder;

        static IEnumerable<string> Json(int from, int to) => Enumerable.Range(from, to - from)
            .Select(i => $$"""{"id": "id{{i}}", "text": {{JsonSerializer.Serialize(Texts[i])}}}""");
    }

    private static Dictionary<string, string> Parts(TemporaryFolder folder) => Directory.GetFiles(folder.File("out"), "part-*", SearchOption.AllDirectories)
        .Where(file => !file.Contains(OutputNames.RecordsFolder, StringComparison.Ordinal))
        .ToDictionary(file => Path.GetRelativePath(folder.File("out"), file), file => Convert.ToHexString(File.ReadAllBytes(file)));

    private sealed class StopAfterTwoChunks(CancellationTokenSource stop) : IProgress<StellaBulkProgress>
    {
        private int? first;

        public void Report(StellaBulkProgress value)
        {
            if (value.Phase == StellaBulkPhase.Embedding && value.CompletedChunkCount >= (first ??= value.CompletedChunkCount) + 2)
            {
                stop.Cancel();
            }
        }
    }
}
