using System.CommandLine;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;
using StellaInterop.Cli.Terminal;
using StellaInterop.Models.Mini;

namespace StellaInterop.Cli.Loading;

/// <summary>Adds the options that choose and load a model to a command.</summary>
internal sealed class ModelOptions
{
    private readonly Option<string?> model = new("--model")
    {
        Description = "Model folder in the sentence-transformers layout, or the name of a model in the Hugging Face cache, "
            + "where `stella download` and other tools store models. Default: the shipped model, stella-mini.",
        HelpName = ModelLocation.HelpName,
    };

    private readonly Option<string?> revision = ModelLocation.CreateRevisionOption();

    private readonly Option<int?> dimension = CreateNumberOption(
        "--dimension", "Dimension of the vectors; `stella info` lists the available ones. Default: the default of the model.");

    private readonly Option<int?> maxTokens = CreateNumberOption(
        "--max-tokens",
        $"Maximum number of tokens of a text, 1 to {ModelLimits.MaxTextTokens}. Default: the limit in the model folder, or {ModelLimits.DefaultTextTokens}.",
        ModelLimits.MaxTextTokens);

    private readonly Option<int?> threads = CreateNumberOption(
        "--threads", "Number of threads for computation. Default: the number of processors that this process may use.");

    private readonly EnumOption<StellaPrecision> precision = new(
        "--precision",
        "Arithmetic of the encoder. auto is bf16 if the processor has bf16 instructions, otherwise f32.",
        ("auto", StellaPrecision.Auto),
        ("f32", StellaPrecision.Float32),
        ("bf16", StellaPrecision.BFloat16),
        ("int8", StellaPrecision.Int8));

    private readonly EnumOption<StellaEncoder> encoder = new(
        "--encoder",
        "Implementation of the encoder. candle is the slow reference implementation, in f32 only.",
        ("kernels", StellaEncoder.Kernels),
        ("candle", StellaEncoder.Candle));

    private readonly EnumOption<StellaLoadMode> loadMode = new(
        "--load-mode",
        "How to load weights into memory. Use mapped only if nobody writes to the folder while the command runs.",
        ("copied", StellaLoadMode.Copied),
        ("mapped", StellaLoadMode.Mapped));

    // A bool option of System.CommandLine accepts only true and false as its value.
    private readonly EnumOption<WeightCheck> checkWeights = new(
        "--check-weights",
        "Whether to check the weights and refuse NaN and infinite values.",
        ("on", WeightCheck.On),
        ("off", WeightCheck.Off));

    private readonly Option<string?> manifest = new("--manifest")
    {
        Description = "Manifest to verify all files of the model against. Default: stella.manifest.json in the model folder, if it exists.",
        HelpName = "FILE",
    };

    /// <param name="command">The command.</param>
    /// <param name="hasDimension">Whether the command takes one dimension for all vectors.</param>
    public ModelOptions(Command command, bool hasDimension = true)
    {
        command.Add(model);
        command.Add(revision);
        if (hasDimension)
        {
            command.Add(dimension);
        }

        command.Add(maxTokens);
        command.Add(precision.Option);
        command.Add(encoder.Option);
        command.Add(threads);
        command.Add(loadMode.Option);
        command.Add(checkWeights.Option);
        command.Add(manifest);
        command.Add(VerbosityOption.Instance.Option);
    }

    /// <summary>Loads the model that the command line names.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="writeMessage">Writes a line to standard error.</param>
    public LoadedModel Load(ParseResult parsed, Action<string> writeMessage)
    {
        ILoggerFactory? loggers = CreateLoggers(parsed, writeMessage);
        try
        {
            return new LoadedModel(StellaModel.Load(GetFolder(parsed), GetOptions(parsed, loggers)), loggers);
        }
        catch
        {
            loggers?.Dispose();
            throw;
        }
    }

    /// <summary>Returns the folder of the model that the command line names.</summary>
    public string GetFolder(ParseResult parsed) => ModelLocation.Resolve(parsed.GetValue(model), parsed.GetValue(revision)) ?? StellaMiniModel.Path;

    /// <summary>Returns the name of the model that the command line names, for people.</summary>
    public string GetName(ParseResult parsed) => parsed.GetValue(model) is not { } given ? "stella-mini"
        : Directory.Exists(given) ? Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(given)))
        : given;

    /// <summary>Creates the loggers for the verbosity of the command line.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="writeMessage">Writes a line to standard error.</param>
    public static ILoggerFactory? CreateLoggers(ParseResult parsed, Action<string> writeMessage) => VerbosityOption.Instance.Get(parsed) switch
    {
        Verbosity.Quiet => null,
        Verbosity.Debug => CreateConsoleLoggers(),
        _ => new WarningLogger(writeMessage),
    };

    /// <summary>Returns the options of the model.</summary>
    public StellaModelOptions GetOptions(ParseResult parsed, ILoggerFactory? loggers) => new()
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

    private static ILoggerFactory CreateConsoleLoggers() => LoggerFactory.Create(logging => logging
        .SetMinimumLevel(LogLevel.Debug)
        .AddSimpleConsole(format =>
        {
            format.SingleLine = true;
            format.ColorBehavior = LoggerColorBehavior.Disabled;
        })
        .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace));

    private static Option<int?> CreateNumberOption(string name, string description, int maximum = int.MaxValue)
    {
        var option = new Option<int?>(name) { Description = description, HelpName = "N" };
        NumberOption.AddRange(option, 1, maximum);
        return option;
    }

    private enum WeightCheck
    {
        On,
        Off,
    }
}
