using StellaInterop.Bench.Measuring;

namespace StellaInterop.Bench.Tests;

public class ShapeTests
{
    [Test]
    public void A_list_of_shapes_is_parsed_in_order_without_duplicates()
    {
        IReadOnlyList<Shape> shapes = Shape.ParseList("8x128, 1x3,8x128");
        Assert.That(shapes.Select(shape => shape.Name), Is.EqualTo(new[] { "8x128", "1x3" }));
        Assert.That(shapes[0].Lengths, Is.EqualTo(Enumerable.Repeat(128, 8)));
        Assert.That(shapes[0].Tokens, Is.EqualTo(1024));
    }

    [TestCase("")]
    [TestCase("8")]
    [TestCase("8x")]
    [TestCase("x8")]
    [TestCase("1x8x2")]
    [TestCase("0x8")]
    [TestCase("1x2")]
    [TestCase("1x513")]
    [TestCase("4097x8")]
    [TestCase("-1x8")]
    [TestCase("1X8")]
    [TestCase("1x8,,1x32")]
    public void An_invalid_shape_is_refused_with_the_expected_format(string list)
    {
        Assert.That(() => Shape.ParseList(list), Throws.TypeOf<FormatException>().With.Message.Contains("TEXTSxTOKENS"));
    }

    [Test]
    public void Drawn_lengths_have_a_median_of_40_and_a_95th_percentile_of_350()
    {
        int[] lengths = [.. Shape.DrawLengths(100_000, seed: 1).Order()];
        Assert.That(lengths[50_000], Is.EqualTo(40).Within(1));
        Assert.That(lengths[95_000], Is.EqualTo(350).Within(8));
        Assert.That(lengths[0], Is.EqualTo(3));
        Assert.That(lengths[^1], Is.EqualTo(512));
    }

    [Test]
    public void The_mixed_shape_has_the_same_lengths_in_every_run()
    {
        Shape mixed = Shape.ParseList("mixed")[0], again = Shape.ParseList("mixed")[0];
        Assert.That(mixed.Lengths, Is.EqualTo(again.Lengths));
        Assert.That(mixed.Lengths, Has.Count.EqualTo(256));
        Assert.That(mixed.IsUniform, Is.False);
    }
}
