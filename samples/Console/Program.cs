// semantic-grep QUERY [COUNT] < FILE: prints the lines of standard input that are closest in meaning to the query, best first.
// A long line is split into passages that are searched separately, because a few words hardly change the vector of a long text.
// The exit codes are similar to those of grep: 0 if there are results, 1 if the input has no text, 2 for an error.

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
    // The shipped model is next to the program. STELLA_MODEL is the folder of another model.
    using StellaModel model = StellaModel.Load(Environment.GetEnvironmentVariable("STELLA_MODEL") ?? StellaMiniModel.Path);

    // The model was trained with a prompt before queries and without a prompt before documents.
    float[] query = model.Embed(args[0], new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery, LongTextBehavior = StellaLongTextBehavior.Error });
    var splitter = new StellaTextSplitter(model, new StellaTextSplitterOptions { MaxTokens = Math.Min(64, model.Info.MaxTokens) });
    var best = new BestMatches(count);
    using Stream standardInput = Console.OpenStandardInput();
    using var input = new Utf8Reader(standardInput, "standard input");
    foreach (string[] passages in LinePassages.Read(input, splitter).Chunk(256))
    {
        // One call for many texts, because the library batches them. The vectors are consecutive rows.
        float[] rows = new float[passages.Length * query.Length];
        model.Embed(passages, rows);
        float[] scores = new float[passages.Length];
        Similarity.DotRows(query, rows, scores);
        best.Add(passages, scores);
    }

    foreach ((float score, string text) in best.GetBestFirst())
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
