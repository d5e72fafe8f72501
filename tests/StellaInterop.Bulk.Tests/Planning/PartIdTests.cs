using CsCheck;
using StellaInterop.Bulk.Planning;

namespace StellaInterop.Bulk.Tests.Planning;

internal sealed class PartIdTests
{
    [TestCase("00000007", 7, "")]
    [TestCase("00000007.0", 7, "0")]
    [TestCase("12345678.0110", 12345678, "0110")]
    public void An_id_is_read_as_it_is_written(string text, int chunk, string halves)
    {
        var id = new PartId(chunk, halves);
        Assert.That(id.ToString(), Is.EqualTo(text));
        Assert.That(PartId.TryParse(text, out PartId read), Is.True);
        Assert.That(read, Is.EqualTo(id));
    }

    [TestCase("")]
    [TestCase("0000007")]
    [TestCase("000000007")]
    [TestCase("00000007.")]
    [TestCase("00000007.2")]
    [TestCase("000000070")]
    [TestCase("-0000007")]
    [TestCase("0000000x")]
    public void Other_names_are_no_ids(string text) => Assert.That(PartId.TryParse(text, out _), Is.False);

    [Test]
    public void The_halves_of_a_part_have_its_rows_one_after_the_other() => Gen.Select(Gen.Int[1, 1000], Gen.Char['0', '1'].Array[0, 8]).Sample((rows, halves) =>
    {
        var part = new PartId(0, new string(halves));
        (long begin, long count) = part.RowsOf(rows);
        (long firstBegin, long firstCount) = part.Half(second: false).RowsOf(rows);
        (long secondBegin, long secondCount) = part.Half(second: true).RowsOf(rows);
        Assert.That((firstBegin, secondBegin, firstCount + secondCount), Is.EqualTo((begin, begin + firstCount, count)));
        Assert.That(firstCount - secondCount, Is.InRange(0, 1));
    });

    [Test]
    public void The_shares_of_halves_have_the_sum_of_the_whole()
    {
        var part = new PartId(0, "1");
        Assert.That(part.Half(second: false).ShareOf(1001, 7) + part.Half(second: true).ShareOf(1001, 7), Is.EqualTo(part.ShareOf(1001, 7)));
        Assert.That(new PartId(0).ShareOf(long.MaxValue, 3), Is.EqualTo(long.MaxValue));
    }

    [Test]
    public void Parts_are_sorted_by_their_rows()
    {
        PartId[] sorted = [new(0), new(0, "0"), new(0, "00"), new(0, "01"), new(0, "1"), new(0, "10"), new(1)];
        Assert.That(sorted.Reverse().Order(), Is.EqualTo(sorted));
    }
}
