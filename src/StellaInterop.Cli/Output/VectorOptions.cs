using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Options;

namespace StellaInterop.Cli.Output;

/// <summary>Adds the options --raw, --output-type and --truncate-prefix to a command.</summary>
internal sealed class VectorOptions
{
    private readonly EnumOption<OutputType> type = CreateTypeOption();

    private readonly Option<bool> raw = CreateRawOption();

    private readonly Option<int?> prefix = new("--truncate-prefix")
    {
        Description =
            "Keep the first N numbers of each vector and scale them to length 1 again. If the model has a head with dimension N, "
            + "--dimension gives better vectors.",
        HelpName = "N",
    };

    public VectorOptions(Command command)
    {
        command.Add(raw);
        command.Add(type.Option);
        command.Add(prefix);
        command.Validators.Add(result =>
        {
            if (result.GetValue(raw) && result.GetResult(prefix) is not null)
            {
                result.AddError("--truncate-prefix scales vectors to length 1, which --raw forbids. Use only one of the two.");
            }
        });
    }

    /// <summary>Creates the option --output-type.</summary>
    public static EnumOption<OutputType> CreateTypeOption() => new(
        "--output-type",
        "Number format of the vectors.",
        ("float32", OutputType.Float32),
        ("float", OutputType.Float32),
        ("half", OutputType.Half),
        ("int8", OutputType.Int8),
        ("binary", OutputType.Binary));

    /// <summary>Creates the option --raw.</summary>
    public static Option<bool> CreateRawOption() => new("--raw")
    {
        Description = "Write vectors as the model returns them, without scaling them to length 1.",
    };

    public bool IsRaw(ParseResult parsed) => parsed.GetValue(raw);

    /// <summary>Creates the writer for the vectors of a model.</summary>
    public VectorWriter CreateWriter(ParseResult parsed, StellaModelInfo model)
    {
        int dimension = model.DefaultDimension;
        int kept = parsed.GetValue(prefix) ?? dimension;
        return kept >= 1 && kept <= dimension
            ? new VectorWriter(type.Get(parsed), dimension, kept)
            : throw new CliException(ExitCode.Usage, $"--truncate-prefix is {kept}; it must be 1 to {dimension}, the dimension of the vectors.");
    }
}
