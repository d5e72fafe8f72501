using System.Diagnostics;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Sources;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Runs;

/// <summary>Measures the share of tokenizing in the time of a call.</summary>
internal sealed class TokenizingRun(
    IReadOnlyList<(string Name, string Folder)> models, IReadOnlyList<Shape> shapes, int threads, int rounds, Action<string> log)
{
    /// <summary>Gets the names of the models: the small shipped model, and the synthetic model in the shape of Stella 400M.</summary>
    public static IReadOnlyList<string> Models { get; } = ["stella-mini", SyntheticModel.Name];

    private static readonly StellaPrecision[] Precisions = [StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8];

    /// <summary>Minimum time of a measurement. Shorter runs are repeated until it has passed.</summary>
    private static readonly TimeSpan MinDuration = TimeSpan.FromSeconds(0.3);

    /// <summary>Minimum number of different texts for a shape. With a single text, all of its data would stay in the processor's caches.</summary>
    private const int MinTexts = 64;

    /// <summary>Number of names and comments that are read from the source tree.</summary>
    private const int ProseTexts = 64;

    private const int NewWords = 40;

    /// <summary>Length of a random word. There are so many words of this length that repetitions are rare.</summary>
    private const int LettersOfNewWord = 7;

    /// <summary>Parses a comma-separated list of models.</summary>
    /// <exception cref="FormatException">A name is unknown. The message lists the known names.</exception>
    public static IReadOnlyList<string> ParseModels(string list) =>
    [
        .. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(name =>
            Models.Contains(name) ? name : throw new FormatException($"Unknown model '{name}'. The models are {string.Join(", ", Models)}.")),
    ];

    /// <summary>Measures all calls and prints the table.</summary>
    public void Run(TextWriter output, CancellationToken cancellationToken)
    {
        var load = new MachineLoad();
        var table = new MarkdownTable("call", "tokens", "tokenizing, us", "us/token", "total, us", "tokens/s", "share", "model");
        foreach (var (name, folder) in models)
        {
            foreach (StellaPrecision precision in Precisions)
            {
                using StellaModel? model = TryLoad(folder, precision);
                if (model is null)
                {
                    continue;
                }

                foreach (CallSet calls in MakeCalls(model, folder))
                {
                    log($"Measuring {calls.Name} with {name} in {precision}.");
                    var (tokens, tokenizing, total) = Measure(model, calls, cancellationToken);
                    table.Add(
                        calls.Name,
                        $"{tokens:F0}",
                        $"{tokenizing * 1e6:F1}",
                        $"{tokenizing * 1e6 / tokens:F2}",
                        $"{total * 1e6:F0}",
                        $"{tokens / total:F0}",
                        $"{tokenizing / total:0.0 %}",
                        $"{name}, {precision}");
                }
            }
        }

        MachineInfo machine = MachineInfo.Read();
        output.WriteLine($"{machine.Cpu}; {machine.Processors} processors, {threads} threads; {machine.System}, {machine.Runtime}; medians of {rounds}");
        output.WriteLine(load.OthersShare() is { } others ? $"other processes took {others:0.0 %} of the machine" : "the load of other processes is unknown");
        output.WriteLine();
        table.Write(output);
    }

    /// <summary>Makes calls with names and comments of the source tree, and with random words that the word cache has never seen.</summary>
    private static CallSet[] TreeCalls()
    {
        Pair[] pairs = [.. RetrievalSet.Read(SourceTree.Root).Take(ProseTexts)];
        var random = new RandomNumbers(seed: 7);
        return
        [
            new("names, one by one", pairs.Length, i => [pairs[i].Query]),
            new("the same, as queries", pairs.Length, i => [pairs[i].Query], StellaPrompt.SearchQuery),
            new("comments, one by one", pairs.Length, i => [pairs[i].Document]),
            new("comments, together", 1, _ => [.. pairs.Select(pair => pair.Document)]),
            new("words never seen", 1, _ => [string.Join(' ', Enumerable.Range(0, NewWords).Select(_ => NewWord()))]),
        ];

        string NewWord() => string.Create(LettersOfNewWord, random, static (word, random) =>
        {
            foreach (ref char letter in word)
            {
                letter = (char)('a' + random.NextBelow('z' - 'a' + 1));
            }
        });
    }

    private StellaModel? TryLoad(string folder, StellaPrecision precision)
    {
        try
        {
            return StellaModel.Load(folder, new StellaModelOptions { Precision = precision, Threads = threads });
        }
        catch (StellaOptionException e)
        {
            log($"{precision} is not available: {e.Message}");
            return null;
        }
    }

    private IEnumerable<CallSet> MakeCalls(StellaModel model, string folder)
    {
        var words = new WordTexts(model, folder);
        foreach (Shape shape in shapes)
        {
            string[][] texts = [.. Enumerable.Range(0, Math.Max(1, MinTexts / shape.Lengths.Count)).Select(_ => words.Make(shape).Texts)];
            yield return new CallSet(shape.Name, texts.Length, i => texts[i]);
        }

        foreach (CallSet calls in TreeCalls())
        {
            yield return calls;
        }
    }

    /// <summary>Returns the tokens of one call, the seconds of tokenizing alone, and the seconds of the entire call.</summary>
    private (double Tokens, double Tokenizing, double Total) Measure(StellaModel model, CallSet calls, CancellationToken cancellationToken)
    {
        var options = new StellaEmbedOptions { Prompt = calls.Prompt };
        List<double> tokens = [], tokenizing = [], total = [];
        float[] vectors = [];
        StellaTokenCount[] counts = [];
        for (int round = 0; round <= rounds; round++)
        {
            ProcessIdle.Wait(cancellationToken);
            double tokenizingSeconds = SecondsPerRun(calls, texts => model.Tokenize(texts, options));
            long keptTokens = 0;
            int runs = 0;
            double totalSeconds = SecondsPerRun(calls, texts =>
            {
                Array.Resize(ref vectors, Math.Max(vectors.Length, texts.Length * model.Info.DefaultDimension));
                Array.Resize(ref counts, Math.Max(counts.Length, texts.Length));
                model.Embed(texts, vectors, counts, options, cancellationToken);
                keptTokens += counts.Take(texts.Length).Sum(count => (long)count.Kept);
                runs++;
            });
            // The first round is the warm-up.
            if (round > 0)
            {
                tokens.Add((double)keptTokens / runs);
                tokenizing.Add(tokenizingSeconds);
                total.Add(totalSeconds);
            }
        }

        return (Statistics.Median(tokens), Statistics.Median(tokenizing), Statistics.Median(total));
    }

    /// <summary>Returns the mean seconds of a call, without the time that making its texts takes.</summary>
    private static double SecondsPerRun(CallSet calls, Action<string[]> run)
    {
        int runs = 0;
        var clock = new Stopwatch();
        do
        {
            for (int i = 0; i < calls.Count; i++)
            {
                string[] texts = calls.Texts(i);
                clock.Start();
                run(texts);
                clock.Stop();
                runs++;
            }
        }
        while (clock.Elapsed < MinDuration);

        return clock.Elapsed.TotalSeconds / runs;
    }

    /// <summary>Calls of one kind, each with its texts.</summary>
    private sealed record CallSet(string Name, int Count, Func<int, string[]> Texts, StellaPrompt Prompt = default);
}
