using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using StellaInterop.ModelFiles;

namespace StellaInterop.Server.Options;

/// <summary>Validates the options of the server. Each error names the option by its path in the configuration.</summary>
/// <param name="section">The path of the configuration section, or the name of the type for options that are set by code.</param>
internal sealed class ServerOptionsValidation(string section) : IValidateOptions<StellaServerOptions>
{
    private const long MinBodyBytes = 1024;
    private const long MaxBodyBytes = 1L << 30;
    private const string AnyOrigin = "*";
    private static readonly TimeSpan MaxDrainTimeout = TimeSpan.FromSeconds(20);

    public ValidateOptionsResult Validate(string? name, StellaServerOptions options)
    {
        string[] failures = [.. Check(options).Select(error => $"{section}:{error.Option}: {error.Message}")];
        return failures.Length == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    private static IEnumerable<(string Option, string Message)> Check(StellaServerOptions options)
    {
        if (options.Models.Count == 0)
        {
            yield return (nameof(options.Models), "There is no model. Add at least one.");
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < options.Models.Count; i++)
        {
            foreach ((string option, string message) in Check(options.Models[i], names))
            {
                yield return ($"{nameof(options.Models)}:{i}:{option}", message);
            }
        }

        if (options.MaxBodyBytes is < MinBodyBytes or > MaxBodyBytes)
        {
            yield return (nameof(options.MaxBodyBytes), $"The limit is {options.MaxBodyBytes}; it must be {MinBodyBytes} to {MaxBodyBytes} bytes.");
        }

        if (options.MaxBufferedBytes < options.MaxBodyBytes)
        {
            yield return (
                nameof(options.MaxBufferedBytes), $"The limit is {options.MaxBufferedBytes}; it must be at least that of one body, {options.MaxBodyBytes} bytes.");
        }

        if (options.MemoryLimitBytes is < 1)
        {
            yield return (nameof(options.MemoryLimitBytes), $"The limit is {options.MemoryLimitBytes}; it must be 1 or more bytes.");
        }

        for (int i = 0; i < options.CorsOrigins.Count; i++)
        {
            if (!IsOrigin(options.CorsOrigins[i]) && options.CorsOrigins is not [AnyOrigin])
            {
                yield return (
                    $"{nameof(options.CorsOrigins)}:{i}",
                    $"'{Printable.Line(options.CorsOrigins[i] ?? "")}' is not an origin. Use the form https://host or https://host:port, without a path, or * alone for every page.");
            }
        }

        if (options.DrainTimeout < TimeSpan.Zero || options.DrainTimeout > MaxDrainTimeout)
        {
            yield return (nameof(options.DrainTimeout), $"The time is {options.DrainTimeout}; it must be 0 to {MaxDrainTimeout.TotalSeconds} seconds.");
        }
    }

    private static IEnumerable<(string Option, string Message)> Check(StellaServedModelOptions? model, HashSet<string> names)
    {
        if (model is null || string.IsNullOrEmpty(model.Path))
        {
            yield return (nameof(model.Path), "The path is missing. Set a folder, or the name of a model in the Hugging Face cache.");
            yield break;
        }

        string name = model.Name ?? model.Path;
        if (model.Name is null && !HuggingFaceCache.IsModelName(model.Path))
        {
            yield return (nameof(model.Name), $"The folder '{Printable.Line(model.Path)}' has no name. Set the name that clients send.");
        }
        else if (!IsName(name))
        {
            yield return (
                nameof(model.Name), $"The name is '{Printable.Line(name)}'; it must be 1 to 200 letters, digits and the characters . _ - /, and start with a letter or digit.");
        }
        else if (!names.Add(name))
        {
            yield return (nameof(model.Name), $"The name '{name}' is already taken by another model. Choose another name.");
        }

        if (model.Revision is { Length: > 0 } revision && !HuggingFaceCache.IsRevision(revision))
        {
            yield return (nameof(model.Revision), $"'{Printable.Line(revision)}' is not the name of a branch, a tag or a commit.");
        }

        foreach ((string section, IValidatableObject? nested) in new (string, IValidatableObject?)[] { (nameof(model.Model), model.Model), (nameof(model.Pool), model.Pool) })
        {
            if (nested is null)
            {
                yield return (section, "The section must not be null.");
                continue;
            }

            // This constructor is safe for trimming: it does not look for attributes.
            var context = new ValidationContext(nested, section, serviceProvider: null, items: null);
            foreach (ValidationResult result in nested.Validate(context))
            {
                yield return ($"{section}:{string.Join(", ", result.MemberNames).Replace('.', ':')}", result.ErrorMessage ?? "");
            }
        }
    }

    /// <summary>Returns whether a text is an origin as browsers send it: without a path, and without the default port of its scheme.</summary>
    private static bool IsOrigin(string? text) => Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri is { Host.Length: > 0, UserInfo.Length: 0 }
        && !uri.Host.Contains('*', StringComparison.Ordinal)
        && uri.GetLeftPart(UriPartial.Authority).Equals(text, StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// Returns whether a name can be sent by all clients and stand in a path. A colon would be a tag of Ollama.
    /// </summary>
    private static bool IsName(string name) => name.Length is > 0 and <= 200 && char.IsAsciiLetterOrDigit(name[0])
        && name.All(character => char.IsAsciiLetterOrDigit(character) || character is '.' or '_' or '-' or '/');
}
