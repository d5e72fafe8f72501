using System.CommandLine;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using StellaInterop.Models.Mini;

namespace StellaInterop.Cli;

/// <summary>How much the program says on standard error.</summary>
internal enum Verbosity
{
    Quiet,
    Normal,
    Debug,
}

/// <summary>The options that every command has: which model, and how to run it.</summary>
internal sealed class ModelArguments
{
    /// <summary>Asked for by the last line of defence too, which knows no command.</summary>
    public static Choice<Verbosity> Verbosity { get; } = new(
        "--verbosity",
        "Amount of text on standard error. quiet leaves out progress and warnings; debug adds the library's log and stack traces.",
        ("normal", Cli.Verbosity.Normal),
        ("quiet", Cli.Verbosity.Quiet),
        ("debug", Cli.Verbosity.Debug));

    private readonly Option<string?> model = new("--model")
    {
        Description = "Model folder in the sentence-transformers layout, or the name of a model that `stella download` or "
            + "another tool has put into the Hugging Face cache. Default: the model that is shipped, stella-mini.",
        HelpName = ModelLocation.HelpName,
    };

    private readonly Option<string?> revision = ModelLocation.RevisionOption();

    private readonly Option<int?> dimension = Positive(
        "--dimension", "Length of the vectors; `stella info` lists those there are. Default: the model's own.");

    private readonly Option<int?> maxTokens = Positive(
        "--max-tokens", $"Tokens that a text may have, 1 to {ModelLimits.MaxTextTokens}. Default: what the folder says, or 512.");

    private readonly Option<int?> threads = Positive(
        "--threads", "Threads to compute with. Default: as many as this process may use.");

    private readonly Choice<StellaPrecision> precision = new(
        "--precision",
        "Arithmetic of the encoder. auto is bf16 where the processor multiplies that by itself, else f32.",
        ("auto", StellaPrecision.Auto),
        ("f32", StellaPrecision.Float32),
        ("bf16", StellaPrecision.BFloat16),
        ("int8", StellaPrecision.Int8));

    private readonly Choice<StellaEncoder> encoder = new(
        "--encoder",
        "Implementation of the encoder. candle is the reference, in f32, and slow.",
        ("kernels", StellaEncoder.Kernels),
        ("candle", StellaEncoder.Candle));

    private readonly Choice<StellaLoadMode> loadMode = new(
        "--load-mode",
        "How weights come into memory. mapped is for folders that nobody writes to meanwhile.",
        ("copied", StellaLoadMode.Copied),
        ("mapped", StellaLoadMode.Mapped));

    // Not a bool: for one, System.CommandLine takes no other word than true and false.
    private readonly Choice<WeightCheck> checkWeights = new(
        "--check-weights",
        "Whether weights that are NaN or infinite are looked for and refused.",
        ("on", WeightCheck.On),
        ("off", WeightCheck.Off));

    private readonly Option<string?> manifest = new("--manifest")
    {
        Description = "Manifest that all files of the model are held against. Default: stella.manifest.json in its folder, if there is one.",
        HelpName = "FILE",
    };

    public ModelArguments(Command command)
    {
        command.Add(model);
        command.Add(revision);
        command.Add(dimension);
        command.Add(maxTokens);
        command.Add(precision.Option);
        command.Add(encoder.Option);
        command.Add(threads);
        command.Add(loadMode.Option);
        command.Add(checkWeights.Option);
        command.Add(manifest);
        command.Add(Verbosity.Option);
        maxTokens.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0
                && int.TryParse(result.Tokens[^1].Value, out int given) && given > ModelLimits.MaxTextTokens)
            {
                result.AddError($"--max-tokens is {given}; it must be 1 to {ModelLimits.MaxTextTokens}.");
            }
        });
    }

    /// <summary>Loads the model that the command line asks for.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="note">Writes a line on standard error.</param>
    public LoadedModel Load(ParseResult parsed, Action<string> note)
    {
        ILoggerFactory? loggers = Verbosity.Get(parsed) switch
        {
            Cli.Verbosity.Quiet => null,
            Cli.Verbosity.Debug => ConsoleLoggers(),
            _ => new LoadWarnings(note),
        };
        try
        {
            var options = new StellaModelOptions
            {
                Dimension = parsed.GetValue(dimension),
                MaxTokens = parsed.GetValue(maxTokens),
                Precision = precision.Get(parsed),
                Encoder = encoder.Get(parsed),
                Threads = parsed.GetValue(threads),
                LoadMode = loadMode.Get(parsed),
                CheckWeights = checkWeights.Get(parsed) == WeightCheck.On,
                ManifestPath = parsed.GetValue(manifest),
                LoggerFactory = loggers,
            };
            string path = ModelLocation.Resolve(parsed.GetValue(model), parsed.GetValue(revision)) ?? StellaMiniModel.Path;
            return new LoadedModel(StellaModel.Load(path, options), loggers);
        }
        catch
        {
            loggers?.Dispose();
            throw;
        }
    }

    private static ILoggerFactory ConsoleLoggers() => LoggerFactory.Create(logging => logging
        .SetMinimumLevel(LogLevel.Debug)
        .AddSimpleConsole(format =>
        {
            format.SingleLine = true;
            format.ColorBehavior = LoggerColorBehavior.Disabled;
        })
        .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace));

    private static Option<int?> Positive(string name, string description)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = "N" };
        option.Validators.Add(result =>
        {
            // What is no number at all has been refused already.
            if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[^1].Value, out int given) && given < 1)
            {
                result.AddError($"{name} is {given}; it must be at least 1.");
            }
        });
        return option;
    }
}

/// <summary>Whether weights are looked at.</summary>
internal enum WeightCheck
{
    On,
    Off,
}

/// <summary>A model and what logs for it.</summary>
internal sealed record LoadedModel(StellaModel Model, ILoggerFactory? Loggers) : IDisposable
{
    /// <summary>
    /// Embeds. A vector that cannot be used is the fault of the model and not of the text: its finite weights overflow, or its
    /// head is zero.
    /// </summary>
    public void Embed(
        string[] texts, float[] vectors, StellaTokenCount[] counts, StellaEmbedOptions options, CancellationToken cancellationToken)
    {
        try
        {
            Model.Embed(texts, vectors, counts, options, cancellationToken);
        }
        catch (StellaInputException e) when (e.Code is StellaErrorCode.ResultNotFinite or StellaErrorCode.ResultZero)
        {
            throw new CliException(ExitCode.ModelRefused, $"{Model.Info.Path}: the weights give no vector that can be used", e);
        }
    }

    /// <summary>
    /// Checks the prompt of the command line, before a row is read or written: an empty input, or rows with prompts of their own,
    /// would never ask for it.
    /// </summary>
    /// <exception cref="StellaOptionException">The model has no such prompt; the message lists those that it has.</exception>
    public void CheckPrompt(StellaPrompt prompt)
    {
        try
        {
            _ = Model.Tokenize("", new StellaEmbedOptions { Prompt = prompt });
        }
        catch (StellaInputException)
        {
            // The model has the prompt. A text with it fails, and its row gets the error.
        }
    }

    public void Dispose()
    {
        Model.Dispose();
        Loggers?.Dispose();
    }
}
