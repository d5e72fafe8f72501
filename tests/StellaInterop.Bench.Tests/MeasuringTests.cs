using StellaInterop.Bench.Engines;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Tests;

public class MeasuringTests
{
    [Test]
    public void Generated_texts_have_the_requested_token_counts_and_varied_words()
    {
        using StellaModel model = StellaModel.Load(StellaMiniModel.Path);
        Workload workload = new WordTexts(model, StellaMiniModel.Path).Make(new Shape("test", [3, 8, 512]));
        Assert.That(workload.Texts.Select(text => model.Tokenize(text).TokenCount.Total), Is.EqualTo(new[] { 3, 8, 512 }));
        Assert.That(workload.Ids[2].Distinct().Count(), Is.GreaterThan(200));
        Assert.That(workload.Select([1]).Tokens, Is.EqualTo(8));
    }

    [Test]
    public void Padded_batches_have_each_text_once_in_order_of_length()
    {
        int[] lengths = [9, 2, 7, 100, 3, 4];
        Assert.That(new PaddedBatches(2, int.MaxValue).Plan(lengths), Is.EqualTo(new int[][] { [1, 4], [5, 2], [0, 3] }));
        // Three texts padded to 4 tokens are 12; a fourth one, of 7 tokens, would make 28. The longest text exceeds the limit and is alone.
        Assert.That(new PaddedBatches(int.MaxValue, 20).Plan(lengths), Is.EqualTo(new int[][] { [1, 4, 5], [2, 0], [3] }));
        Assert.That(PaddedBatches.Everything.Plan(lengths), Is.EqualTo(new int[][] { [1, 4, 5, 2, 0, 3] }));
    }

    [Test]
    public void The_median_of_an_even_count_is_the_mean_of_the_two_middle_numbers()
    {
        Assert.That(Statistics.Median([4, 1, 9]), Is.EqualTo(4));
        Assert.That(Statistics.Median([4, 1, 9, 6]), Is.EqualTo(5));
    }

    [Test]
    public void A_percentile_is_a_number_that_its_fraction_does_not_exceed()
    {
        double[] numbers = [.. Enumerable.Range(1, 100).Select(number => (double)number)];
        Assert.That(Statistics.Percentile(numbers, 0.99), Is.EqualTo(99));
        Assert.That(Statistics.Percentile(numbers, 0.5), Is.EqualTo(50));
        Assert.That(Statistics.Percentile([7], 0.99), Is.EqualTo(7));
        Assert.That(Statistics.Percentile([], 0.99), Is.NaN);
    }

    [Test]
    public void The_ratio_is_the_median_over_rounds_against_the_fastest_peer()
    {
        EngineSpec Spec(string name) => EngineSpec.ParseList(name)[0];
        ShapeReport report = Summary.Of(
            Shape.ParseList("1x8")[0],
            [
                (Spec("ours-f32"), [1, 2, 4], ""),
                (Spec("candle"), [9, 9, 9], ""),
                (Spec("ort-f32"), [2, 6, 8], ""),
                (Spec("ort-int8"), [0.1, 0.1, 0.1], ""),
            ],
            precision => precision == StellaPrecision.Float32 ? 0.5 : null);
        ShapeResult ours = report.Results[0];
        Assert.That(ours.BestPeer, Is.EqualTo("ort-f32"));
        Assert.That(ours.Ratio, Is.EqualTo(2));
        Assert.That(ours.TokensPerSecond, Is.EqualTo(4));
        Assert.That(ours.Slowest, Is.EqualTo(2));
        Assert.That(ours.Fastest, Is.EqualTo(8));
        Assert.That(ours.ShareOfLimit, Is.EqualTo(0.25));
        Assert.That(report.Results[1].Ratio, Is.Null);
        Assert.That(report.Results[3].ShareOfLimit, Is.Null);
    }

    [Test]
    public void The_shortest_possible_time_is_the_longer_of_arithmetic_and_memory()
    {
        var limits = new HardwareLimits(F32: 100, BF16: null, Int8: null, ReadBytes: 10);
        Assert.That(limits.MinSeconds(new Cost(Operations: 1000, Weights: 5), StellaPrecision.Float32), Is.EqualTo(10));
        Assert.That(limits.MinSeconds(new Cost(Operations: 100, Weights: 5), StellaPrecision.Float32), Is.EqualTo(2));
        Assert.That(limits.MinSeconds(new Cost(Operations: 100, Weights: 5), StellaPrecision.BFloat16), Is.Null);
    }

    [Test]
    public void A_vector_with_NaN_is_outside_every_tolerance()
    {
        Difference good = Difference.Between([1, 2], [1, 2]);
        Assert.That(good.Largest, Is.Zero);
        foreach (StellaPrecision precision in new[] { StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8 })
        {
            Tolerance tolerance = Tolerance.Of(precision, randomWeights: true);
            Assert.That(tolerance.Accepts(good), Is.True);
            Assert.That(tolerance.Accepts(good.WorseOf(Difference.Between([float.NaN, 2], [1, 2]))), Is.False);
            Assert.That(tolerance.Accepts(Difference.Between([2, 1], [1, 2])), Is.False);
        }

        Assert.That(Tolerance.Of(StellaPrecision.Float32, randomWeights: true).Accepts(Difference.Between([1.0002f, 2.0004f], [1, 2])), Is.False);
    }

    [Test]
    public void A_difference_has_the_smallest_cosine_and_the_largest_element_difference()
    {
        Difference difference = Difference.Between([1, 0, 0], [1, 1, 0]);
        Assert.That(difference.Cosine, Is.EqualTo(Math.Sqrt(0.5)).Within(1e-12));
        Assert.That(difference.Largest, Is.EqualTo(1));
        Difference worse = difference.WorseOf(new Difference(0.9, 7)).WorseOf(new Difference(0.2, 0.1));
        Assert.That(worse, Is.EqualTo(new Difference(0.2, 7)));
    }

    /// <summary>Wrong machine code would crash the test process.</summary>
    [Test]
    public void Dot_product_loops_run_if_the_processor_has_the_instruction_and_no_AMX()
    {
        IReadOnlyList<string> instructions = MachineInfo.Read().Instructions;
        using DotProductLoop? bf16 = DotProductLoop.BF16(instructions);
        using DotProductLoop? int8 = DotProductLoop.Int8(instructions);
        bf16?.Run(1000);
        int8?.Run(1000);
        Assert.Multiple(() =>
        {
            Assert.That(bf16 is not null, Is.EqualTo(instructions.Contains("avx512_bf16") && !instructions.Contains("amx_bf16")));
            Assert.That(int8 is not null, Is.EqualTo(instructions.Contains("avx512_vnni") && !instructions.Contains("amx_int8")));
            Assert.That(bf16?.OperationsPerLoop ?? 768, Is.EqualTo(12 * 16 * 2 * 2));
            Assert.That(DotProductLoop.BF16([]), Is.Null);
        });
    }
}
