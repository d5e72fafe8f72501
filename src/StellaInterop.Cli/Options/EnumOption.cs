using System.CommandLine;
using System.CommandLine.Parsing;

namespace StellaInterop.Cli.Options;

/// <summary>Represents an option whose value is one of a few names. The first name is the default.</summary>
internal sealed class EnumOption<T>
    where T : struct, Enum
{
    private readonly T[] values;

    public EnumOption(string name, string description, params (string Name, T Value)[] values)
    {
        var names = new string[values.Length];
        this.values = new T[values.Length];
        for (int i = 0; i < values.Length; i++)
        {
            (names[i], this.values[i]) = values[i];
        }

        Option = EnumOption.Create(name, description, names);
    }

    /// <summary>Gets the option, whose value is the index of the name.</summary>
    public Option<int> Option { get; }

    public T Get(ParseResult parsed) => values[parsed.GetResult(Option) is null ? 0 : parsed.GetRequiredValue(Option)];
}

/// <summary>Creates the options of all enumerations.</summary>
/// <remarks>All have the type <see cref="Option{T}"/> of <see cref="int"/>. An own type for each enumeration would be compiled at each start.</remarks>
internal static class EnumOption
{
    public static Option<int> Create(string name, string description, string[] names)
    {
        var option = new Option<int>(name)
        {
            Description = $"{description} Default: {names[0]}.",
            HelpName = string.Join('|', names),
            CustomParser = result => Parse(result, name, names),
        };
        option.CompletionSources.Add(names);
        return option;
    }

    private static int Parse(ArgumentResult result, string option, string[] names)
    {
        string given = result.Tokens[^1].Value;
        int index = Array.FindIndex(names, name => string.Equals(name, given, StringComparison.OrdinalIgnoreCase));
        if (index < 0)
        {
            result.AddError($"{option} is '{given}'; it must be one of {string.Join(", ", names)}.");
        }

        return Math.Max(index, 0);
    }
}
