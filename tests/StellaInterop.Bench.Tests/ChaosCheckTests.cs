using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using StellaInterop.Chaos.Checking;

namespace StellaInterop.Bench.Tests;

/// <summary>Breaks a correct output in one way after the other. A check that finds nothing would pass every run.</summary>
public class ChaosCheckTests
{
    private const string PlanHash = "0123456789abcdef";
    private const string Whole = "part-00000000-01234567";
    private const string FirstHalf = "part-00000001.0-01234567";
    private const string SecondHalf = "part-00000001.1-01234567";

    private string folder = "";

    private string Output => Path.Combine(folder, "output");

    private string Reference => Path.Combine(folder, "reference");

    [SetUp]
    public void WriteOutput()
    {
        folder = Directory.CreateTempSubdirectory("chaos-check-").FullName;
        foreach (string name in new[] { "output/_errors", "output/_records", "output/_tmp", "output/_inputs", "reference" })
        {
            _ = Directory.CreateDirectory(Path.Combine(folder, name));
        }

        Write($"{Whole}.jsonl", Row("a", 0.1f), Row("b", 0.2f));
        Write($"{FirstHalf}.jsonl", Row("c", 0.3f));
        Write($"{SecondHalf}.jsonl");
        Write($"_errors/{SecondHalf}.jsonl", """{"id":"poison"}""");
        foreach (string part in new[] { Whole, FirstHalf, SecondHalf })
        {
            Write($"_records/{part}-0123456789abcdef.json", "{}");
        }

        Write("_SUCCESS");
        File.WriteAllLines(Path.Combine(Reference, "part-00000000-89abcdef.jsonl"), [Row("a", 0.1f), Row("b", 0.2f), Row("c", 0.3f)]);
        WriteManifest(rows: 3);
    }

    [TearDown]
    public void DeleteOutput() => Directory.Delete(folder, recursive: true);

    [Test]
    public void A_complete_output_breaks_no_rule() => Assert.That(Broken(), Is.Empty);

    [Test]
    public void A_lost_row_is_found()
    {
        Write($"{Whole}.jsonl", Row("a", 0.1f));
        WriteManifest(rows: 2);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.OnceEach }));
    }

    [Test]
    public void A_row_that_is_there_twice_is_found()
    {
        Write($"{FirstHalf}.jsonl", Row("c", 0.3f), Row("c", 0.3f));
        WriteManifest(rows: 4);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.OnceEach }));
    }

    [Test]
    public void A_vector_that_differs_in_its_last_bit_is_found()
    {
        Write($"{FirstHalf}.jsonl", Row("c", MathF.BitIncrement(0.3f)));
        WriteManifest(rows: 3);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.EqualBits }));
    }

    [Test]
    public void A_healthy_row_in_the_errors_is_found()
    {
        Write($"{FirstHalf}.jsonl");
        Write($"_errors/{SecondHalf}.jsonl", """{"id":"poison"}""", """{"id":"c"}""");
        WriteManifest(rows: 2, errors: 2);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.PoisonAlone }));
    }

    [Test]
    public void A_chunk_without_one_of_its_halves_is_found()
    {
        File.Delete(Path.Combine(Output, $"{SecondHalf}.jsonl"));
        Assert.That(Broken(), Does.Contain(OutputCheck.ChunksCovered));
    }

    [Test]
    public void A_half_beside_its_whole_chunk_is_found() => Assert.That(PartName.Cover(["", "0"]), Is.False);

    [Test]
    public void Halves_of_halves_cover_a_chunk() => Assert.That(PartName.Cover(["0", "10", "11"]), Is.True);

    [Test]
    public void A_part_that_changed_after_its_record_is_found()
    {
        Write($"{FirstHalf}.jsonl", Row("c", 0.3f) + " ");
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.ManifestAgrees }));
    }

    [TestCase("_tmp/left")]
    [TestCase("ballast")]
    [TestCase("_records/part-00000009-01234567-0123456789abcdef.json")]
    public void A_file_that_nobody_names_is_found(string name)
    {
        Write(name);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.NoOtherFiles }));
    }

    [Test]
    public void A_folder_of_the_cluster_that_stayed_is_found()
    {
        _ = Directory.CreateDirectory(Path.Combine(Output, "_cluster"));
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.Complete }));
    }

    [TestCase("{")]
    [TestCase("""{"id":null}""")]
    [TestCase("""{"id":1}""")]
    [TestCase("""{"id":"a"}""")]
    public void A_part_that_is_not_readable_is_found(string line)
    {
        Write($"{Whole}.jsonl", line);
        Assert.That(Broken(), Does.Contain(OutputCheck.AllReadable));
    }

    [TestCase("")]
    [TestCase("{}")]
    [TestCase("[]")]
    public void A_manifest_that_is_not_complete_is_found(string manifest)
    {
        Write("_manifest.json", manifest);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.ChunksCovered, OutputCheck.ManifestAgrees }));
    }

    [Test]
    public void A_missing_output_is_found()
    {
        Directory.Delete(Output, recursive: true);
        Assert.That(Broken(), Is.EqualTo(new[] { OutputCheck.Complete }));
    }

    private static string Row(string id, float value) => string.Create(CultureInfo.InvariantCulture, $$"""{"id":"{{id}}","tokens":1,"truncated":false,"embedding":[{{value:R}}]}""");

    private IEnumerable<string> Broken() =>
        new OutputCheck(Output, Reference, ["a", "b", "c", "poison"], "poison").Check().Where(rule => !rule.Holds).Select(rule => rule.Name);

    private void Write(string name, params string[] lines) => File.WriteAllLines(Path.Combine(Output, name), lines);

    private void WriteManifest(int rows, int errors = 1)
    {
        string Hash(string name) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(Output, name))));
        var parts = new[] { Whole, FirstHalf, SecondHalf }.Select(part => new
        {
            sha256 = new[] { Hash($"{part}.jsonl") },
            errors_sha256 = part == SecondHalf ? Hash($"_errors/{part}.jsonl") : null,
        });
        Write("_manifest.json", JsonSerializer.Serialize(new { plan_hash = PlanHash, rows, errors, plan = new { chunks = new[] { 0, 1 } }, parts }));
    }
}
