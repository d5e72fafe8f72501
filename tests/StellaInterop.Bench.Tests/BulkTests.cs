using StellaInterop.Bench.Files;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Tests;

public class BulkTests
{
    private const int Rows = 1000;

    private static readonly PartIds AllIds = new(Rows, Rows);

    [Test]
    public void Random_texts_have_words_within_the_range_and_are_the_same_each_time()
    {
        var texts = new RandomTexts(StellaMiniModel.Path, WordRange.Parse("2..4"));
        string[] first = [.. texts.Take(Rows)];
        Assert.That(first, Is.EqualTo(texts.Take(Rows)));
        Assert.That(first.Select(text => text.Split(' ').Length).Distinct(), Is.EquivalentTo(new[] { 2, 3, 4 }));
        Assert.That(first.Distinct().Count(), Is.GreaterThan(Rows * 0.99));
    }

    [TestCase("3")]
    [TestCase("3..1")]
    [TestCase("0..1")]
    [TestCase("1..")]
    [TestCase("1..10001")]
    public void Ranges_without_two_numbers_in_order_are_refused(string text)
    {
        Assert.That(() => WordRange.Parse(text), Throws.TypeOf<FormatException>().With.Message.Contains("1..3"));
    }

    [Test]
    public void Measurements_within_the_limits_do_not_fail()
    {
        var summary = new BulkSummary(Rows, [Cost(10), Cost(10), Cost(50)], [Pool(9), Pool(9.5), Pool(9)], [AllIds, AllIds, AllIds]);
        Assert.That(summary.Failures(), Is.Empty);
        Assert.That(summary.Shares, Is.EqualTo(new[] { 0.9, 0.95, 0.18 }).Within(1e-9));
        Assert.That(summary.RowsPerSecond, Is.EqualTo(100));
    }

    [Test]
    public void A_measurement_without_a_pool_has_no_share()
    {
        var summary = new BulkSummary(Rows, [Cost(10)], [], [AllIds]);
        Assert.That(summary.Failures(), Is.Empty);
        Assert.That(summary.Shares, Is.Empty);
    }

    [Test]
    public void Each_exceeded_limit_is_a_failure()
    {
        Assert.That(new BulkSummary(Rows, [Cost(10)], [Pool(8.9)], [AllIds]).Failures().Single(), Does.Contain("throughput"));
        Assert.That(new BulkSummary(Rows, [Cost(10, peakBytes: 600_000_001)], [], [AllIds]).Failures().Single(), Does.Contain("peak"));
        Assert.That(new BulkSummary(Rows, [Cost(10), Cost(10)], [], [AllIds, new PartIds(Rows, Rows - 1)]).Failures().Single(), Does.Contain("ids"));
        Assert.That(new BulkSummary(Rows, [Cost(10)], [], [new PartIds(Rows + 1, Rows)]).Failures().Single(), Does.Contain("ids"));
    }

    private static BulkCost Cost(double seconds, long peakBytes = 600_000_000) => new(seconds, seconds, 1, peakBytes, Rows);

    private static BulkCost Pool(double seconds) => new(seconds, seconds, 1, 0, Rows);
}
