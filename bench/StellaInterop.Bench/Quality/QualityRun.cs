using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Synthetic;
using StellaInterop.Models.Mini;

namespace StellaInterop.Bench.Quality;

/// <summary>What each precision costs in quality: in a ranking, and in the vectors of every text with a reference.</summary>
internal sealed class QualityRun(string syntheticFolder, int threads, Action<string> say)
{
    /// <summary>The part by which a ranking may be worse or better than in f32.</summary>
    private const double MostChange = 0.005;

    private static readonly StellaPrecision[] Precisions = [StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8];

    private readonly IReadOnlyList<Pair> pairs = RetrievalSet.Read(Tree.Root);

    /// <summary>Prints the figures and says whether all of them are within their limits.</summary>
    public bool Run(TextWriter output, CancellationToken cancellationToken)
    {
        List<string> broken = [];
        output.WriteLine($"ranking: {pairs.Count} questions and documents of this tree, with the shipped model");
        output.WriteLine();
        WriteRanking(output, broken, cancellationToken);
        foreach (var (model, folder, golden, randomWeights) in new[]
        {
            ("the shipped model", StellaMiniModel.Path, "stella-mini", false),
            (SyntheticModel.Name, syntheticFolder, SyntheticModel.Name, true),
        })
        {
            IReadOnlyList<GoldenText> texts = GoldenText.Read(Tree.Golden(golden));
            output.WriteLine();
            output.WriteLine($"vectors: {texts.Count} texts of {model}, all dimensions; f32 against float64, the others against f32");
            output.WriteLine();
            WriteVectors(folder, texts, randomWeights, output, broken, cancellationToken);
        }

        output.WriteLine();
        broken.ForEach(output.WriteLine);
        if (broken.Count == 0)
        {
            output.WriteLine("All of it is within the limits.");
        }

        return broken.Count == 0;
    }

    private void WriteRanking(TextWriter output, List<string> broken, CancellationToken cancellationToken)
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
                table.Add($"{precision}", $"{found.Ndcg:F4}", $"{ndcg:+0.00 %;-0.00 %;0 %}", $"{found.Recall:F4}", $"{recall:+0.00 %;-0.00 %;0 %}", $"{MostChange:0.0 %}");
                if (!(Math.Abs(ndcg) < MostChange))
                {
                    broken.Add($"OUTSIDE: nDCG@10 in {precision} is {ndcg:+0.00 %;-0.00 %} from that in f32.");
                }
            }
        }

        table.Write(output);
    }

    private void WriteVectors(
        string folder, IReadOnlyList<GoldenText> texts, bool randomWeights, TextWriter output, List<string> broken, CancellationToken cancellationToken)
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
                Difference worst = differences.Aggregate(Difference.None, (one, other) => one.And(other));
                Tolerance tolerance = Tolerance.Of(precision, randomWeights);
                table.Add(
                    $"{precision}",
                    $"{worst.Cosine:F7}",
                    $"{differences.Average(difference => difference.Cosine):F7}",
                    $"{worst.Largest:G2}",
                    tolerance.ToString());
                if (!tolerance.Holds(worst))
                {
                    broken.Add($"OUTSIDE: {precision} of {folder}: smallest cosine {worst.Cosine:F7}, largest difference {worst.Largest:G2}.");
                }

                if (precision == StellaPrecision.Float32)
                {
                    exact = found;
                }
            }
        }

        table.Write(output);
    }

    /// <summary>The model in each precision that there is; f32 comes first.</summary>
    private IEnumerable<(StellaPrecision Precision, StellaModel Model)> Models(string folder, TextWriter output)
    {
        foreach (StellaPrecision precision in Precisions)
        {
            say($"{precision} of {folder}");
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
