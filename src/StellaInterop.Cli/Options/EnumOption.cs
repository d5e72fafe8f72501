using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli.Options;

/// <summary>Represents an option whose value is one of a few names. The first name is the default.</summary>
internal sealed class EnumOption<T>
    where T : struct, Enum
{
    private readonly (string Name, T Value)[] values;

    public EnumOption(string name, string description, params (string Name, T Value)[] values)
    {
        this.values = values;
        Option = new Option<T>(name)
        {
            Description = $"{description} Default: {values[0].Name}.",
            HelpName = string.Join("|", values.Select(entry => entry.Name)),
            CustomParser = Parse,
        };
        Option.CompletionSources.Add([.. values.Select(entry => entry.Name)]);
    }

    public Option<T> Option { get; }

    public T Get(ParseResult parsed) =>
        parsed.GetResult(Option) is null ? values[0].Value : parsed.GetRequiredValue(Option);

    private T Parse(ArgumentResult result)
    {
        string given = result.Tokens[^1].Value;
        foreach (var (name, value) in values)
        {
            if (string.Equals(name, given, StringComparison.OrdinalIgnoreCase))
            {
                return value;
            }
        }

        result.AddError($"{Option.Name} is '{given}'; it must be one of {string.Join(", ", values.Select(entry => entry.Name))}.");
        return default;
    }
}
