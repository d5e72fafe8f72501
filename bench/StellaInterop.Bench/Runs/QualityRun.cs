using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures the loss of quality in each precision: in a ranking, and in the vectors of every text with a reference.</summary>
internal sealed class QualityRun(string syntheticFolder, int threads, Action<string> log)
{
    /// <summary>Largest relative change of a ranking against f32, in either direction.</summary>
    private const double MaxChange = 0.005;

    private static readonly StellaPrecision[] Precisions = [StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8];

    private readonly IReadOnlyList<Pair> pairs = RetrievalSet.Read(SourceTree.Root);

    /// <summary>Prints the figures and returns whether all are within their limits.</summary>
    public bool Run(TextWriter output, CancellationToken cancellationToken)
    {
        List<string> violations = [];
        output.WriteLine($"ranking: {pairs.Count} queries and documents from this source tree, with the shipped model");
        output.WriteLine();
        WriteRanking(output, violations, cancellationToken);
        foreach (var (model, folder, golden, randomWeights) in new[]
        {
            ("the shipped model", StellaMiniModel.Path, "stella-mini", false),
            (SyntheticModel.Name, syntheticFolder, SyntheticModel.Name, true),
        })
        {
            IReadOnlyList<GoldenText> texts = GoldenText.Read(SourceTree.Golden(golden));
            output.WriteLine();
            output.WriteLine($"vectors: {texts.Count} texts of {model}, all dimensions; f32 against float64, the others against f32");
            output.WriteLine();
            WriteVectors(folder, texts, randomWeights, output, violations, cancellationToken);
        }

        output.WriteLine();
        violations.ForEach(output.WriteLine);
        if (violations.Count == 0)
        {
            output.WriteLine("All figures are within their limits.");
        }

        return violations.Count == 0;
    }

    private void WriteRanking(TextWriter output, List<string> violations, CancellationToken cancellationToken)
    {
        var table = new MarkdownTable("precision", "nDCG@10", "change", "recall@10", "change", "limit");
        Ranking? exact = null;
        foreach (var (precision, model) in Models(StellaMiniModel.Path, output))
        {
            using (model)
            {
                int dimension = model.Info.DefaultDimension;
                float[] queries = new float[pairs.Count * dimension], documents = new float[pairs.Count * dimension];
                var query = new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery };
                model.Embed([.. pairs.Select(pair => pair.Query)], queries, query, cancellationToken);
                model.Embed([.. pairs.Select(pair => pair.Document)], documents, null, cancellationToken);
                var found = Ranking.Of(queries, documents, dimension);
                exact ??= found;
                double ndcg = (found.Ndcg / exact.Value.Ndcg) - 1, recall = (found.Recall / exact.Value.Recall) - 1;
                table.Add($"{precision}", $"{found.Ndcg:F4}", $"{ndcg:+0.00 %;-0.00 %;0 %}", $"{found.Recall:F4}", $"{recall:+0.00 %;-0.00 %;0 %}", $"{MaxChange:0.0 %}");
                if (!(Math.Abs(ndcg) < MaxChange))
                {
                    violations.Add($"OUTSIDE: nDCG@10 in {precision} differs from f32 by {ndcg:+0.00 %;-0.00 %}; the limit is {MaxChange:0.0 %}.");
                }
            }
        }

        table.Write(output);
    }

    private void WriteVectors(
        string folder, IReadOnlyList<GoldenText> texts, bool randomWeights, TextWriter output, List<string> violations, CancellationToken cancellationToken)
    {
        var table = new MarkdownTable("precision", "smallest cosine", "mean", "largest difference", "limit");
        Dictionary<(string, int), float[]> exact = texts
            .SelectMany(text => text.Vectors.Select(vector => ((text.Name, vector.Key), vector.Value)))
            .ToDictionary();
        foreach (var (precision, model) in Models(folder, output))
        {
            using (model)
            {
                var found = new Dictionary<(string, int), float[]>();
                foreach (GoldenText text in texts)
                {
                    foreach (int dimension in text.Vectors.Keys)
                    {
                        var options = new StellaEmbedOptions { Prompt = text.Prompt, Dimension = dimension, Normalize = false };
                        found.Add((text.Name, dimension), model.Embed(text.Text, options, cancellationToken));
                    }
                }

                Difference[] differences = [.. found.Select(entry => Difference.Between(entry.Value, exact[entry.Key]))];
                Difference worst = differences.Aggregate(Difference.None, (left, right) => left.WorseOf(right));
                Tolerance tolerance = Tolerance.Of(precision, randomWeights);
                table.Add(
                    $"{precision}",
                    $"{worst.Cosine:F7}",
                    $"{differences.Average(difference => difference.Cosine):F7}",
                    $"{worst.Largest:G2}",
                    tolerance.ToString());
                if (!tolerance.Accepts(worst))
                {
                    violations.Add($"OUTSIDE: {precision} of {folder}: smallest cosine {worst.Cosine:F7}, largest difference {worst.Largest:G2}; the limit is {tolerance}.");
                }

                if (precision == StellaPrecision.Float32)
                {
                    exact = found;
                }
            }
        }

        table.Write(output);
    }

    /// <summary>Loads the model in each available precision, f32 first.</summary>
    private IEnumerable<(StellaPrecision Precision, StellaModel Model)> Models(string folder, TextWriter output)
    {
        foreach (StellaPrecision precision in Precisions)
        {
            log($"Measuring {folder} in {precision}.");
            StellaModel model;
            try
            {
                model = StellaModel.Load(folder, new StellaModelOptions { Precision = precision, Threads = threads });
            }
            catch (StellaOptionException e)
            {
                output.WriteLine($"{precision} is not available: {e.Message}");
                output.WriteLine();
                continue;
            }

            yield return (precision, model);
        }
    }
}
