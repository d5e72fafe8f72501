using StellaInterop.Bulk.Commit;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Tests.Commit;

internal sealed class PartSetTests
{
    private static readonly BulkPlan Plan = new(
        [], [new PlannedFile("input.rows", 1, "00", 5)], [new Chunk(0, default, 4, 40, 0), new Chunk(0, default, 1, 10, 0)]);

    [TestCase("", "00000000 00000001")]
    [TestCase("00000000", "00000001")]
    [TestCase("00000001", "00000000")]
    [TestCase("00000000.0", "00000000.1 00000001")]
    [TestCase("00000000.10 00000001", "00000000.0 00000000.11")]
    [TestCase("00000000.00 00000000.1", "00000000.01 00000001")]
    [TestCase("00000000.0 00000000.1 00000001", "")]
    public void The_missing_parts_have_all_other_rows(string there, string missing) =>
        Assert.That(string.Join(' ', Read(there).Missing()), Is.EqualTo(missing));

    [Test]
    public void A_part_is_covered_by_itself_or_by_all_of_its_halves()
    {
        Assert.That(Read("00000000").Covers(new PartId(0)), Is.True);
        Assert.That(Read("00000000.0 00000000.10").Covers(new PartId(0)), Is.False);
        Assert.That(Read("00000000.0 00000000.10 00000000.11").Covers(new PartId(0)), Is.True);
        Assert.That(Read("00000000.0 00000000.10 00000000.11").Covers(new PartId(0, "1")), Is.True);
    }

    [Test]
    public void Halves_are_those_below_a_part()
    {
        PartSet parts = Read("00000000.10 00000001");
        Assert.That(parts.HasHalvesOf(new PartId(0)) && parts.HasHalvesOf(new PartId(0, "1")), Is.True);
        Assert.That(parts.HasHalvesOf(new PartId(0, "0")) || parts.HasHalvesOf(new PartId(0, "10")) || parts.HasHalvesOf(new PartId(1)), Is.False);
    }

    [Test]
    public void A_half_beside_its_whole_overlaps()
    {
        Assert.That(Read("00000000.0 00000000.1 00000001").Overlaps(), Is.Empty);
        Assert.That(
            Read("00000000 00000000.10 00000001").Overlaps(), Is.EqualTo(new[] { (new PartId(0), new PartId(0, "10")) }));
    }

    private static PartSet Read(string names) => new(Plan, names.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(name =>
        PartId.TryParse(name, out PartId part) ? part : throw new ArgumentException(name)));
}
