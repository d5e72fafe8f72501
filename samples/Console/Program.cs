// semantic-grep QUERY [COUNT] < FILE: the lines of standard input that mean what the query means, best first.
// A long line is cut into passages, and each of them is found by itself: a few words hardly move the vector of a long text.
// Exit codes are those of grep: 0 found, 1 nothing to search in, 2 anything that went wrong.

using System.Globalization;
using StellaInterop;
using StellaInterop.Models.Mini;
using StellaInterop.Samples;
using StellaInterop.Samples.SemanticGrep;
using StellaInterop.Vectors;

int count = 5;
if (args is not ([_] or [_, _]) || string.IsNullOrWhiteSpace(args[0])
    || (args.Length == 2 && (!int.TryParse(args[1], CultureInfo.InvariantCulture, out count) || count < 1)))
{
    Console.Error.WriteLine("usage: semantic-grep QUERY [COUNT] < FILE");
    return 2;
}

try
{
    // The model lies beside the program. STELLA_MODEL names the folder of another.
    using StellaModel model = StellaModel.Load(Environment.GetEnvironmentVariable("STELLA_MODEL") ?? StellaMiniModel.Path);

    // A query has a prompt before it, a text that is searched has none: the model was trained like this.
    float[] query = model.Embed(args[0], new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery, LongTextBehavior = StellaLongTextBehavior.Error });
    var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = Math.Min(64, model.Info.MaxTokens) });
    var best = new BestMatches(count);
    using Stream standardInput = Console.OpenStandardInput();
    using var input = new Utf8Reader(standardInput, "standard input");
    foreach (string[] passages in Lines.Passages(input, splitter).Chunk(256))
    {
        // One call for many texts: it makes batches itself. Rows are written one after the other.
        float[] rows = new float[passages.Length * query.Length];
        model.Embed(passages, rows);
        float[] scores = new float[passages.Length];
        Similarity.DotRows(query, rows, scores);
        best.Add(passages, scores);
    }

    foreach ((float score, string text) in best.InOrder())
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{score:0.000}  {text}"));
    }

    return best.Any ? 0 : 1;
}
catch (Exception e) when (e is StellaException or IOException)
{
    Console.Error.WriteLine($"semantic-grep: {e.Message}");
    return 2;
}
