using System.CommandLine;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Commands;

/// <summary>Creates options that several commands share, with their validation.</summary>
internal static class Options
{
    private const int DefaultThreads = 2;

    public static Option<int> Threads() =>
        Number("--threads", "Threads of each engine.", DefaultThreads, ModelLimits.MaxThreads);

    /// <summary>Creates the option for the folder of the synthetic model.</summary>
    public static Option<string> SyntheticFolder()
    {
        string defaultFolder = Path.Combine(Path.GetTempPath(), $"stella-bench-{SyntheticModel.Name}");
        return new Option<string>("--folder")
        {
            Description = $"Folder that keeps {SyntheticModel.Name} between runs. It takes 2.1 GB and may be deleted.",
            HelpName = "DIR",
            DefaultValueFactory = _ => defaultFolder,
        };
    }

    /// <summary>Creates an option for a comma-separated list, which <paramref name="parse"/> validates.</summary>
    public static Option<string> List<T>(string name, string description, string defaultValue, Func<string, IReadOnlyList<T>> parse) =>
        Parsed(name, description, "A,B,...", defaultValue, parse);

    /// <summary>Creates an option for a value that <paramref name="parse"/> validates.</summary>
    public static Option<string> Parsed<T>(string name, string description, string helpName, string defaultValue, Func<string, T> parse)
    {
        var option = new Option<string>(name)
        {
            Description = description,
            HelpName = helpName,
            DefaultValueFactory = _ => defaultValue,
        };
        option.Validators.Add(result =>
        {
            try
            {
                _ = parse(result.GetValueOrDefault<string>());
            }
            catch (FormatException e)
            {
                result.AddError($"{name}: {e.Message}");
            }
        });
        return option;
    }

    public static Option<int> Number(string name, string description, int defaultValue, int max)
    {
        var option = new Option<int>(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => defaultValue,
        };
        option.Validators.Add(result =>
        {
            // The parser has already refused values that are not numbers.
            if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[^1].Value, out int given) && (given < 1 || given > max))
            {
                result.AddError($"{name} is {given}. It must be 1 to {max}.");
            }
        });
        return option;
    }
}
