using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli;

/// <summary>An option whose value is one of a few names; the first is what is taken when it is not given.</summary>
internal sealed class Choice<T>
{
    private readonly (string Name, T Value)[] table;

    public Choice(string name, string description, params (string Name, T Value)[] table)
    {
        this.table = table;
        Option = new Option<T>(name)
        {
            Description = $"{description} Default: {table[0].Name}.",
            HelpName = string.Join("|", table.Select(row => row.Name)),
            CustomParser = Parse,
        };
        Option.CompletionSources.Add([.. table.Select(row => row.Name)]);
    }

    public Option<T> Option { get; }

    public T Get(ParseResult parsed) =>
        parsed.GetResult(Option) is null ? table[0].Value : parsed.GetRequiredValue(Option);

    /// <summary>An unknown name is refused with the list of those there are.</summary>
    private T? Parse(ArgumentResult result)
    {
        string given = result.Tokens[^1].Value;
        foreach (var (name, value) in table)
        {
            if (string.Equals(name, given, StringComparison.OrdinalIgnoreCase))
            {
                return value;
            }
        }

        result.AddError($"{Option.Name} is '{given}'; it must be one of {string.Join(", ", table.Select(row => row.Name))}.");
        return default;
    }
}
