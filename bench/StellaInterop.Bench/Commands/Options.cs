using System.CommandLine;
using StellaInterop.Bench.Synthetic;

namespace StellaInterop.Bench.Commands;

/// <summary>Options that more than one command has, and how options are checked.</summary>
internal static class Options
{
    private const int UsualThreads = 2;

    public static Option<int> Threads() =>
        Number("--threads", "Threads of each engine.", UsualThreads, ModelLimits.MaxThreads);

    /// <summary>Where the synthetic model is kept between runs.</summary>
    public static Option<string> SyntheticFolder()
    {
        string usual = Path.Combine(Path.GetTempPath(), $"stella-bench-{SyntheticModel.Name}");
        return new Option<string>("--folder")
        {
            Description = $"Where {SyntheticModel.Name} is kept between runs; it takes 2.1 GB and may be deleted.",
            HelpName = "DIR",
            DefaultValueFactory = _ => usual,
        };
    }

    /// <summary>An option whose values are separated by commas, checked by what reads them.</summary>
    public static Option<string> List<T>(string name, string description, string usual, Func<string, IReadOnlyList<T>> parse)
    {
        var option = new Option<string>(name)
        {
            Description = description,
            HelpName = "A,B,...",
            DefaultValueFactory = _ => usual,
        };
        option.Validators.Add(result =>
        {
            try
            {
                parse(result.GetValueOrDefault<string>());
            }
            catch (FormatException e)
            {
                result.AddError($"{name}: {e.Message}");
            }
        });
        return option;
    }

    public static Option<int> Number(string name, string description, int usual, int most)
    {
        var option = new Option<int>(name)
        {
            Description = description,
            HelpName = "N",
            DefaultValueFactory = _ => usual,
        };
        option.Validators.Add(result =>
        {
            // What is no number at all has been refused already.
            if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[^1].Value, out int given) && (given < 1 || given > most))
            {
                result.AddError($"{name} is {given}; it must be 1 to {most}.");
            }
        });
        return option;
    }
}
