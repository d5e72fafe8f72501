using Microsoft.Extensions.Options;

namespace StellaInterop.Extensions;

/// <summary>The rules that stand at the properties of <see cref="StellaEmbeddingsOptions"/>, as generated code.</summary>
[OptionsValidator]
internal sealed partial class StellaEmbeddingsRules : IValidateOptions<StellaEmbeddingsOptions>;

/// <summary>Checks the settings of one model, and names each that is wrong as it stands in configuration.</summary>
/// <param name="modelName">The model's name; <see langword="null"/> for the one without.</param>
/// <param name="section">The section with its settings, if they come from one.</param>
internal sealed class StellaEmbeddingsValidation(string? modelName, string? section) : IValidateOptions<StellaEmbeddingsOptions>
{
    private readonly StellaEmbeddingsRules rules = new();
    private readonly string name = modelName ?? Options.DefaultName;

    /// <summary>Whether this checks the settings of a model.</summary>
    public bool IsOf(string? model) => model == modelName;

    public ValidateOptionsResult Validate(string? optionsName, StellaEmbeddingsOptions options)
    {
        if (optionsName != name)
        {
            return ValidateOptionsResult.Skip;
        }

        string where = section ?? (name.Length == 0 ? StellaEmbeddingsOptions.DefaultSection : $"{StellaEmbeddingsOptions.DefaultSection} '{name}'");
        ValidateOptionsResult result = rules.Validate(where, options);
        if (result.Failed)
        {
            return ValidateOptionsResult.Fail((result.Failures ?? [result.FailureMessage]).Select(failure => $"{where}: {failure}"));
        }

        // What depends on more than one setting is checked where it is used.
        try
        {
            options.ToPoolOptions().Check();
            return ValidateOptionsResult.Success;
        }
        catch (ArgumentOutOfRangeException e)
        {
            return ValidateOptionsResult.Fail($"{where}:{e.ParamName}: {e.Message}");
        }
    }
}
