using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace StellaInterop.Extensions;

/// <summary>Validates the options of one model. Each error names the option by its path in the configuration.</summary>
/// <param name="optionsName">The name of the options, which is empty for the model without a key.</param>
/// <param name="section">The path of the configuration section; <see langword="null"/> if the options are set by code.</param>
internal sealed class StellaEmbeddingServiceValidation(string optionsName, string? section) : IValidateOptions<StellaEmbeddingServiceOptions>
{
    /// <summary>Returns whether the instance validates the options with a name.</summary>
    public bool IsFor(string name) => name == optionsName;

    public ValidateOptionsResult Validate(string? name, StellaEmbeddingServiceOptions options)
    {
        if (name != optionsName)
        {
            return ValidateOptionsResult.Skip;
        }

        string path = section
            ?? (optionsName.Length == 0
                ? nameof(StellaEmbeddingServiceOptions)
                : $"{nameof(StellaEmbeddingServiceOptions)} '{optionsName}'");
        var context = new ValidationContext(options, path, serviceProvider: null, items: null);
        string[] failures =
        [
            .. ((IValidatableObject)options).Validate(context).Select(result =>
                $"{path}:{string.Join(", ", result.MemberNames).Replace('.', ':')}: {result.ErrorMessage}"),
        ];
        return failures.Length == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }
}
