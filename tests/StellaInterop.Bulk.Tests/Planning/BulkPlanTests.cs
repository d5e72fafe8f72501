using System.Text;
using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Files;
using StellaInterop.Bulk.Inputs;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Tests.Planning;

internal sealed class BulkPlanTests
{
    private static readonly KeyValuePair<string, string>[] Settings = [new("model_fingerprint_4", "abc"), new("prompt", "s2p")];
    private static readonly PlannedFile[] Files = [new("a.jsonl", 10, "00ff", 3)];
    private static readonly Chunk[] Chunks = [new(0, new RowPosition(0, 0), 3, 40, 0xfedcba9876543210)];

    [Test]
    public void The_hash_is_that_of_the_settings_files_and_chunks()
    {
        string hash = new BulkPlan(Settings, Files, Chunks).Hash;
        // A constant: a new version of the program must continue the jobs of this one.
        Assert.That(hash, Is.EqualTo("34a89c90e4dd0f2b215233c213a50a1e9beb899538d985cd83c649695cfe1449"));
        BulkPlan[] others =
        [
            new([Settings[0]], Files, Chunks),
            new([Settings[0], new("prompt", "s2s")], Files, Chunks),
            new(Settings, [Files[0] with { Name = "b.jsonl" }], Chunks),
            new(Settings, [Files[0] with { Length = 11 }], Chunks),
            new(Settings, [Files[0] with { Sha256 = "00fe" }], Chunks),
            new(Settings, Files, [Chunks[0] with { RowCount = 2 }]),
            new(Settings, Files, [Chunks[0] with { Checksum = 1 }]),
            new(Settings, Files, [Chunks[0] with { Position = new RowPosition(1, 0) }]),
        ];
        Assert.That(others.Select(other => other.Hash).Append(hash), Is.Unique);
    }

    [Test]
    public void A_manifest_is_read_as_it_was_written()
    {
        var manifest = new JobManifest(
            new BulkPlan(Settings, Files, Chunks),
            [new FileStamp(10, 20, 30)],
            [new PartRecord(new PartId(0), new PartCounts(2, 30, 1, 1), ["aa", "bb"], "cc")]);
        JobManifest read = JobManifest.Read(new MemoryStream(Bytes(manifest)));
        Assert.That(read.Plan.Hash, Is.EqualTo(manifest.Plan.Hash));
        Assert.That(read.Plan.Chunks, Is.EqualTo(Chunks));
        Assert.That(read.Stamps, Is.EqualTo(manifest.Stamps));
        Assert.That(Bytes(read), Is.EqualTo(Bytes(manifest)));
    }

    [TestCase("{}", "is not a manifest")]
    [TestCase("", "is not a manifest")]
    [TestCase("[1", "is not a manifest")]
    [TestCase("{\"version\":2}", "is of another version")]
    public void Other_files_are_no_manifests(string json, string message) => Assert.That(
        () => JobManifest.Read(new MemoryStream(Encoding.UTF8.GetBytes(json))), Throws.TypeOf<InvalidDataException>().With.Message.Contain(message));

    [Test]
    public void A_changed_manifest_is_noticed()
    {
        string json = Encoding.UTF8.GetString(Bytes(new JobManifest(new BulkPlan(Settings, Files, Chunks), [new FileStamp(10, 20, 30)])));
        Assert.That(
            () => JobManifest.Read(new MemoryStream(Encoding.UTF8.GetBytes(json.Replace("s2p", "s2s", StringComparison.Ordinal)))),
            Throws.TypeOf<InvalidDataException>().With.Message.Contain("its own hash"));
    }

    [Test]
    public void Differences_name_the_setting_and_both_values() => Assert.That(
        BulkPlan.Differences([new("a", "1"), new("b", "2")], [new("a", "1"), new("b", "3"), new("c", "4")]),
        Is.EqualTo(["b: 2 here, 3 in the output folder", "c: none here, 4 in the output folder"]));

    private static byte[] Bytes(JobManifest manifest)
    {
        using var stream = new MemoryStream();
        manifest.Write(stream);
        return stream.ToArray();
    }
}
