// semantic-grep QUERY [COUNT] < FILE: the lines of standard input that mean what the query means, best first.

using System.Globalization;
using StellaInterop;
using StellaInterop.Models.Mini;

int count = 5;
if (args is not ([_] or [_, _]) || args[0].Length == 0
    || (args.Length == 2 && (!int.TryParse(args[1], CultureInfo.InvariantCulture, out count) || count < 1)))
{
    Console.Error.WriteLine("usage: semantic-grep QUERY [COUNT] < FILE");
    return 2;
}

string[] lines = [.. Lines().Where(line => !string.IsNullOrWhiteSpace(line))];

// The model lies beside the program. STELLA_MODEL names the folder of another.
using StellaModel model = StellaModel.Load(Environment.GetEnvironmentVariable("STELLA_MODEL") ?? StellaMiniModel.Path);

// A query has a prompt before it, what is searched has none: so the model was trained.
float[] query = model.Embed(args[0], new StellaEmbedOptions { Prompt = StellaPrompt.SearchQuery });

// One call for all lines: it makes batches itself. Rows lie one after the other.
float[] rows = new float[lines.Length * query.Length];
model.Embed(lines, rows);

float[] scores = new float[lines.Length];
Similarity.Dot(query, rows, scores);
int[] best = new int[Math.Min(count, lines.Length)];
Similarity.TopK<float>(scores, best);
foreach (int line in best)
{
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{scores[line]:0.000}  {lines[line]}"));
}

return best.Length > 0 ? 0 : 1;

static IEnumerable<string> Lines()
{
    while (Console.In.ReadLine() is { } line)
    {
        yield return line;
    }
}
