using System.Diagnostics;
using StellaInterop.Bench.Measuring;
using StellaInterop.Bench.Quality;
using StellaInterop.Bench.Reporting;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench;

/// <summary>Measures the tokenizer's part of the whole.</summary>
internal sealed class TokenizingRun(
    IReadOnlyList<(string Name, string Folder)> models, IReadOnlyList<Shape> shapes, int threads, int rounds, Action<string> say)
{
    /// <summary>The models that can be asked for: the shipped one, which is small, and one that costs what Stella 400M does.</summary>
    public static IReadOnlyList<string> Models { get; } = ["stella-mini", SyntheticModel.Name];

    private static readonly StellaPrecision[] Precisions = [StellaPrecision.Float32, StellaPrecision.BFloat16, StellaPrecision.Int8];

    /// <summary>What is shorter is repeated until so much time has passed.</summary>
    private static readonly TimeSpan LeastTime = TimeSpan.FromSeconds(0.3);

    /// <summary>Different texts for shapes of few: with one alone, everything about it would be in the caches.</summary>
    private const int LeastTexts = 64;

    /// <summary>Names and comments of the tree that are taken.</summary>
    private const int ProseTexts = 64;

    private const int NewWords = 40;

    /// <summary>There are so many of them that hardly one comes twice.</summary>
    private const int LettersOfNewWord = 7;

    /// <summary>Reads models that are separated by commas.</summary>
    /// <exception cref="FormatException">One is not known; the message lists those that are.</exception>
    public static IReadOnlyList<string> ParseModels(string list) =>
    [
        .. list.Split(',', StringSplitOptions.TrimEntries).Distinct().Select(name =>
            Models.Contains(name) ? name : throw new FormatException($"'{name}' is no model; the models are {string.Join(", ", Models)}.")),
    ];

    /// <summary>Prints the figures.</summary>
    public void Run(TextWriter output, CancellationToken cancellationToken)
    {
        var load = new MachineLoad();
        var table = new MarkdownTable("call", "tokens", "tokenizing, us", "us/token", "whole, us", "tokens/s", "share", "model");
        foreach (var (name, folder) in models)
        {
            foreach (StellaPrecision precision in Precisions)
            {
                using StellaModel? model = TryLoad(folder, precision);
                if (model is null)
                {
                    continue;
                }

                foreach (Calls calls in MakeCalls(model, folder))
                {
                    say($"{calls.Name} with {name} in {precision}");
                    var (tokens, tokenizing, whole) = Measure(model, calls, cancellationToken);
                    table.Add(
                        calls.Name,
                        $"{tokens:F0}",
                        $"{tokenizing * 1e6:F1}",
                        $"{tokenizing * 1e6 / tokens:F2}",
                        $"{whole * 1e6:F0}",
                        $"{tokens / whole:F0}",
                        $"{tokenizing / whole:0.0 %}",
                        $"{name}, {precision}");
                }
            }
        }

        MachineInfo machine = MachineInfo.Read();
        output.WriteLine($"{machine.Cpu}; {machine.Processors} processors, {threads} threads; {machine.System}, {machine.Runtime}; medians of {rounds}");
        output.WriteLine(load.OthersShare() is { } others ? $"other processes took {others:0.0 %} of the machine" : "what other processes took is not known");
        output.WriteLine();
        table.Write(output);
    }

    /// <summary>What people write, one by one and together; and what nobody does, so that no word comes twice.</summary>
    private static Calls[] Texts()
    {
        Pair[] pairs = [.. RetrievalSet.Read(Tree.Root).Take(ProseTexts)];
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
            say($"{precision} is not available: {e.Message}");
            return null;
        }
    }

    private IEnumerable<Calls> MakeCalls(StellaModel model, string folder)
    {
        var words = new WordTexts(model, folder);
        foreach (Shape shape in shapes)
        {
            string[][] texts = [.. Enumerable.Range(0, Math.Max(1, LeastTexts / shape.Lengths.Count)).Select(_ => words.Make(shape).Texts)];
            yield return new Calls(shape.Name, texts.Length, i => texts[i]);
        }

        foreach (Calls calls in Texts())
        {
            yield return calls;
        }
    }

    /// <summary>Of one call: its tokens, the seconds of its tokenizing alone, and those of all of it.</summary>
    private (double Tokens, double Tokenizing, double Whole) Measure(StellaModel model, Calls calls, CancellationToken cancellationToken)
    {
        var options = new StellaEmbedOptions { Prompt = calls.Prompt };
        List<double> tokens = [], tokenizing = [], whole = [];
        float[] vectors = [];
        StellaTokenCount[] counts = [];
        for (int round = 0; round <= rounds; round++)
        {
            QuietMachine.Wait(cancellationToken);
            double tokenizingSeconds = Time(calls, texts => model.Tokenize(texts, options));
            long found = 0;
            int runs = 0;
            double wholeSeconds = Time(calls, texts =>
            {
                Array.Resize(ref vectors, Math.Max(vectors.Length, texts.Length * model.Info.DefaultDimension));
                Array.Resize(ref counts, Math.Max(counts.Length, texts.Length));
                model.Embed(texts, vectors, counts, options, cancellationToken);
                found += counts.Take(texts.Length).Sum(count => (long)count.Kept);
                runs++;
            });
            // The first round is the warm-up.
            if (round > 0)
            {
                tokens.Add((double)found / runs);
                tokenizing.Add(tokenizingSeconds);
                whole.Add(wholeSeconds);
            }
        }

        return (Samples.Median(tokens), Samples.Median(tokenizing), Samples.Median(whole));
    }

    /// <summary>Seconds of a call, without those that its texts take to be made.</summary>
    private static double Time(Calls calls, Action<string[]> run)
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
        while (clock.Elapsed < LeastTime);

        return clock.Elapsed.TotalSeconds / runs;
    }

    /// <summary>Calls of one kind, each with its texts.</summary>
    private sealed record Calls(string Name, int Count, Func<int, string[]> Texts, StellaPrompt Prompt = default);
}
