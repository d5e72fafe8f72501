using System.CommandLine;

namespace StellaInterop.Cli.Options;

/// <summary>Adds ranges to options with a number.</summary>
internal static class NumberOption
{
    /// <summary>Refuses a number outside of a range. The parser itself refuses text that is not a number.</summary>
    public static void AddRange(Option option, int minimum, int maximum = int.MaxValue) => option.Validators.Add(result =>
    {
        foreach (var token in result.Tokens)
        {
            if (int.TryParse(token.Value, out int given) && (given < minimum || given > maximum))
            {
                string range = maximum == int.MaxValue ? $"at least {minimum}" : $"{minimum} to {maximum}";
                result.AddError($"{option.Name} is {token.Value}; it must be {range}.");
            }
        }
    });
}
