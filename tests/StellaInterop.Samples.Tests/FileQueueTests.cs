using System.Runtime.InteropServices;
using System.Text.Json;
using StellaInterop.Models.Mini;

namespace StellaInterop.Samples.Tests;

/// <summary>The worker over a queue of files.</summary>
internal sealed class FileQueueTests
{
    private string queue = null!;

    [SetUp]
    public void MakeQueue() => queue = Directory.CreateTempSubdirectory("stella-queue").FullName;

    [TearDown]
    public void Delete() => Directory.Delete(queue, recursive: true);

    [Test]
    public async Task Jobs_are_done_one_after_the_other_and_bad_ones_set_aside()
    {
        string[] lines = [.. Enumerable.Range(0, 700).Select(number => $"this is line {number}")];
        Put("in", "a.txt", lines);
        // Begun by a process that was killed.
        Put("work", "b.txt", ["left behind"]);
        Put("work", "b.jsonl", ["{ half a"]);
        Put("in", "c.txt", ["good", new string('x', 3_000_000)]);
        using SampleProcess worker = Start();
        await worker.UntilAsync(() => File.Exists(At("out", "b.jsonl")) && File.Exists(At("failed", "c.error")) ? "done" : null);
        Put("in", "d.txt", ["put there later"]);
        await worker.UntilAsync(() => File.Exists(At("out", "d.jsonl")) ? "done" : null);
        Assert.That(worker.Stop(), Is.Zero);

        using var model = StellaModel.Load(StellaMiniModel.Path);
        Assert.That(Vectors("a.jsonl"), Has.Length.EqualTo(700));
        Assert.That(Vectors("a.jsonl")[699], Is.EqualTo(model.Embed(lines[699])).Within(1e-6f));
        Assert.That(Vectors("b.jsonl"), Has.Length.EqualTo(1));
        Assert.That(File.ReadAllText(At("failed", "c.error")), Does.StartWith("line 2: "));
        Assert.That(
            Directory.EnumerateFiles(queue, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(queue, file)).Order(StringComparer.Ordinal),
            Is.EqualTo(new[] { "failed/c.error", "failed/c.txt", "lock", "out/a.jsonl", "out/b.jsonl", "out/d.jsonl" }));
    }

    [Test]
    public async Task A_job_that_is_stopped_goes_back()
    {
        Put("in", "long.txt", Enumerable.Range(0, 200_000).Select(number => $"line {number} of a job that takes long"));
        using SampleProcess worker = Start();
        await worker.UntilAsync(() => new FileInfo(At("work", "long.jsonl")) is { Exists: true, Length: > 0 } ? "begun" : null);
        Assert.That(worker.Stop(), Is.Zero, worker.Log);
        Assert.That(File.Exists(At("in", "long.txt")), worker.Log);
        Assert.That(Directory.GetFiles(At("work", string.Empty)).Concat(Directory.GetFiles(At("out", string.Empty))), Is.Empty);
    }

    [Test]
    public async Task A_folder_has_one_worker()
    {
        using SampleProcess first = Start();
        await first.UntilAsync(() => File.Exists(Path.Combine(queue, "lock")) ? "locked" : null);
        (int code, string output, string error) = SampleProcess.Run("FileQueue", "file-queue", string.Empty, "--Queue:Folder", queue);
        Assert.That(code, Is.Not.Zero);
        Assert.That(output + error, Does.Contain("lock"));
        Assert.That(first.Stop(), Is.Zero);
    }

    [Test]
    public void A_folder_that_is_not_there_is_told_at_the_start()
    {
        (int code, string output, string error) = SampleProcess.Run("FileQueue", "file-queue", string.Empty, "--Queue:Folder", At("nowhere", string.Empty));
        Assert.That(code, Is.Not.Zero);
        Assert.That(output + error, Does.Contain("Queue:Folder must be a folder that exists"));
    }

    private SampleProcess Start() => SampleProcess.Start("FileQueue", "file-queue", "--Queue:Folder", queue, "--Queue:Poll", "00:00:00.05", "--StellaEmbeddings:OnLongText", "Error");

    private string At(string folder, string file) => Path.Combine(queue, folder, file);

    private void Put(string folder, string file, IEnumerable<string> lines)
    {
        Directory.CreateDirectory(Path.Combine(queue, folder));
        File.WriteAllLines(At(folder, file + ".part"), lines);
        File.Move(At(folder, file + ".part"), At(folder, file));
    }

    private float[][] Vectors(string file) =>
    [
        .. File.ReadLines(At("out", file)).Select((line, index) =>
        {
            JsonElement row = JsonDocument.Parse(line).RootElement;
            Assert.That(row.GetProperty("line").GetInt32(), Is.EqualTo(index + 1));
            return MemoryMarshal.Cast<byte, float>(row.GetProperty("vector").GetBytesFromBase64()).ToArray();
        }),
    ];
}
