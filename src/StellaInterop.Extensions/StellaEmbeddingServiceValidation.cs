using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace StellaInterop.Extensions;

/// <summary>Validates the options of one model. Each error names the option by its path in the configuration.</summary>
/// <param name="optionsName">The name of the options; that of the model without a key is empty.</param>
/// <param name="section">The path of the section with the options, if they come from one.</param>
internal sealed class StellaEmbeddingServiceValidation(string optionsName, string? section) : IValidateOptions<StellaEmbeddingServiceOptions>
{
    /// <summary>Whether this validates the options of a name.</summary>
    public bool IsOf(string name) => name == optionsName;

    public ValidateOptionsResult Validate(string? name, StellaEmbeddingServiceOptions options)
    {
        if (name != optionsName)
        {
            return ValidateOptionsResult.Skip;
        }

        string where = section
            ?? (optionsName.Length == 0
                ? nameof(StellaEmbeddingServiceOptions)
                : $"{nameof(StellaEmbeddingServiceOptions)} '{optionsName}'");
        var context = new ValidationContext(options, where, serviceProvider: null, items: null);
        string[] failures =
        [
            .. ((IValidatableObject)options).Validate(context).Select(result =>
                $"{where}:{string.Join(", ", result.MemberNames).Replace('.', ':')}: {result.ErrorMessage}"),
        ];
        return failures.Length == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }
}
