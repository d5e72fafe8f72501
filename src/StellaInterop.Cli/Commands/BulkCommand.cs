using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using StellaInterop.Cli.Clusters;
using StellaInterop.Cli.Input;
using StellaInterop.Cli.Jobs;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Output;
using StellaInterop.Cli.Terminal;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella bulk</c>, which embeds files into a folder.</summary>
/// <remarks>This file names no type of StellaInterop.Bulk and StellaInterop.Cluster, so that the other commands do not load it.</remarks>
internal static class BulkCommand
{
    public const string Name = "bulk";

    private const int MaxChunkTokens = 1 << 30;

    public static Command Create()
    {
        var inputs = new Argument<string[]>("INPUT")
        {
            Description = "Files, folders and patterns such as 'data/**/*.jsonl.gz': JSON Lines, CSV, TSV, Parquet or text, plain or as .gz or .zst.",
            Arity = ArgumentArity.OneOrMore,
        };
        var output = new Option<string>("--output") { Description = "Output folder: a new or empty one, or that of the same job.", HelpName = "DIR", Required = true };
        EnumOption<BulkInputFormat> inputFormat = new(
            "--input-format",
            "Format of the input files, if their names do not tell it. With auto, files with other names are left out of folders and patterns.",
            ("auto", BulkInputFormat.Auto),
            ("jsonl", BulkInputFormat.JsonLines),
            ("csv", BulkInputFormat.Csv),
            ("tsv", BulkInputFormat.Tsv),
            ("parquet", BulkInputFormat.Parquet),
            ("text", BulkInputFormat.Text));
        var text = new Option<string>("--text") { Description = "Column with the text. Default: text.", HelpName = "COLUMN", DefaultValueFactory = _ => "text" };
        var id = new Option<string?>("--id") { Description = "Column with the id. Default: id if there is one. A row without an id gets one from its file and number.", HelpName = "COLUMN" };
        EnumOption<PartFormat> format = new(
            "--format",
            "Format of the output.",
            ("parquet", PartFormat.Parquet),
            ("jsonl", PartFormat.JsonLines),
            ("npy", PartFormat.Npy));
        var dimensions = new Option<int[]>("--dimension")
        {
            Description = "Dimensions of the vectors with a comma between them, such as 256,1024. Default: the default of the model.",
            HelpName = "N,N",
            CustomParser = ParseDimensions,
        };
        EnumOption<OutputType> type = VectorOptions.CreateTypeOption();
        Option<bool> raw = VectorOptions.CreateRawOption();
        Option<string?> prompt = TextArguments.CreatePromptOption("Name of a prompt of the model; `stella info` lists them. Default: the default of the model.");
        EnumOption<StellaLongTextBehavior> onLongText = TextArguments.CreateLongTextOption();
        var chunkTokens = new Option<int?>("--chunk-tokens")
        {
            Description = "Estimated tokens of a part: the most that a killed run loses. Large inputs have larger parts. Default: 32768.",
            HelpName = "N",
        };
        NumberOption.AddRange(chunkTokens, 1, MaxChunkTokens);
        var deduplicate = new Option<bool>("--dedup") { Description = "Compute equal texts once, as far as 200 MB of vectors reach. The output is the same." };
        var maxErrors = new Option<int?>("--max-errors") { Description = "End a run that has more rows at fault than this. Default: no limit.", HelpName = "N" };
        NumberOption.AddRange(maxErrors, 0);
        var shard = new Option<(int Number, int Count)?>("--shard")
        {
            Description = "Make only every N-th part, such as 2/8 for the second of eight runs on several machines that share the folder.",
            HelpName = "I/N",
            CustomParser = ParseShard,
        };
        var dryRun = new Option<bool>("--dry-run") { Description = "Print the plan, and an estimate of time and bytes. Write nothing." };
        var jsonProgress = new Option<bool>("--json-progress") { Description = "Write the progress and the result to standard output as JSON, one object per line." };
        var command = new Command(
            Name,
            """
            Embeds the rows of files into a folder of Parquet, JSON Lines or NumPy files, in constant memory.
            A run that was stopped, by whatever, continues when the same command is run again. Several runs may share one folder.

            Each part has the columns id, embedding (with several dimensions embedding_256, ...), tokens and truncated. A row at fault goes
            to the folder _errors with its reason. _manifest.json describes the job, and _SUCCESS is there when all is done.

            Examples:
              stella bulk texts.jsonl --output vectors
              stella bulk data --text body --id key --dimension 256,1024 --output-type half --output vectors
              stella bulk 'crawl/**/*.parquet' --output vectors --dry-run
              stella bulk /shared/texts --output /shared/vectors --cluster postgres://USER:PASSWORD@HOST/DATABASE

            With --cluster, the nodes of a cluster (`stella node`) make the parts. Inputs and output must be on a folder that this machine and
            all nodes share under the same path. The command follows the job, and an interruption ends only the following.

            Exit codes: 0 complete, 6 complete with rows in _errors, 2 wrong usage or other settings than those of the folder, 3 model refused,
            4 an input cannot be read or has changed, 5 the cluster was not reached, 7 more rows at fault than --max-errors, 8 cancelled by
            `stella jobs`, 130 interrupted (SIGINT), 143 terminated (SIGTERM), 1 any other error, such as a full disk. After each of them
            the same command continues.
            """)
        {
            inputs,
            output,
            inputFormat.Option,
            text,
            id,
            format.Option,
            dimensions,
            type.Option,
            raw,
            prompt,
            onLongText.Option,
            chunkTokens,
            deduplicate,
            maxErrors,
            shard,
            dryRun,
            jsonProgress,
        };
        var model = new ModelOptions(command, hasDimension: false);
        var cluster = new ClusterOptions(command, "Let a cluster make the parts, and follow the job. Address of the cluster:");
        command.Validators.Add(result =>
        {
            if (cluster.IsGiven(result))
            {
                foreach (Option option in (Option[])[shard, dryRun])
                {
                    if (result.GetResult(option) is not null)
                    {
                        result.AddError($"{option.Name} is for runs on one machine. A cluster shares the parts by itself; leave out {option.Name} or --cluster.");
                    }
                }
            }
        });
        command.SetAction((parsed, cancellationToken) =>
        {
            var settings = new BulkSettings
            {
                Inputs = parsed.GetRequiredValue(inputs),
                Output = parsed.GetRequiredValue(output),
                InputFormat = inputFormat.Get(parsed),
                TextColumn = parsed.GetRequiredValue(text),
                IdColumn = parsed.GetValue(id),
                Format = format.Get(parsed),
                Dimensions = parsed.GetValue(dimensions) ?? [],
                VectorType = type.Get(parsed),
                IsRaw = parsed.GetValue(raw),
                Prompt = TextArguments.GetPrompt(parsed, prompt),
                LongTextBehavior = onLongText.Get(parsed),
                ChunkTokens = parsed.GetValue(chunkTokens),
                Deduplicates = parsed.GetValue(deduplicate),
                MaxErrors = parsed.GetValue(maxErrors),
                Shard = parsed.GetValue(shard) ?? (1, 1),
                IsDryRun = parsed.GetValue(dryRun),
                HasJsonProgress = parsed.GetValue(jsonProgress),
                IsQuiet = VerbosityOption.Instance.Get(parsed) == Verbosity.Quiet,
                CreatePool = writeMessage => new StellaEmbeddingPool(
                    model.GetFolder(parsed), model.GetOptions(parsed, ModelOptions.CreateLoggers(parsed, writeMessage))),
            };
            return cluster.IsGiven(parsed)
                ? ClusterBulkProgram.RunAsync(settings, cluster.Get(parsed), cancellationToken)
                : BulkProgram.RunAsync(settings, cancellationToken);
        });
        return command;
    }

    private static int[] ParseDimensions(ArgumentResult result)
    {
        var dimensions = new List<int>();
        foreach (string part in result.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.TrimEntries)))
        {
            if (!int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int dimension) || dimension < 1)
            {
                result.AddError($"--dimension has '{part}'; it must be whole numbers above zero with a comma between them.");
                return [];
            }

            dimensions.Add(dimension);
        }

        return [.. dimensions];
    }

    private static (int Number, int Count)? ParseShard(ArgumentResult result)
    {
        const int MaxShards = 1_000_000;
        string given = result.Tokens[^1].Value;
        if (given.Split('/') is [var number, var count]
            && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int i)
            && int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int n)
            && i >= 1 && i <= n && n <= MaxShards)
        {
            return (i, n);
        }

        result.AddError($"--shard is '{given}'; it must be I/N with I from 1 to N, and N at most {MaxShards}.");
        return null;
    }
}
