using System.CommandLine;
using System.Diagnostics.CodeAnalysis;
using StellaInterop.Cli.Errors;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Loading;

/// <summary>Finds the folder of a model that the command line names by its folder or as <c>org/name</c>.</summary>
internal static class ModelLocation
{
    public const string HelpName = "DIR|ORG/NAME";

    /// <summary>Creates the argument of commands that read a model folder without loading the model.</summary>
    public static Argument<string> CreateFolderArgument() => new(HelpName)
    {
        Description = "Model folder, or the name of a model in the Hugging Face cache.",
    };

    /// <summary>Creates the option --revision of commands that take a model from the Hugging Face cache.</summary>
    public static Option<string?> CreateRevisionOption()
    {
        var option = new Option<string?>("--revision")
        {
            Description = "Revision of a model in the Hugging Face cache: a branch, a tag, refs/pr/N or a full commit. "
                + $"Default: {HuggingFaceCache.DefaultRevision}.",
            HelpName = "REV",
        };
        AddRevisionCheck(option);
        return option;
    }

    /// <summary>Refuses values that are not the name of a revision.</summary>
    public static void AddRevisionCheck(Option option) => option.Validators.Add(result =>
    {
        foreach (var token in result.Tokens.Where(token => !HuggingFaceCache.IsRevision(token.Value)))
        {
            result.AddError($"'{token.Value}' is not the name of a branch, a tag or a commit.");
        }
    });

    /// <summary>
    /// Returns the folder of a model. A value that is not a folder but has the form of a name is looked up in the Hugging Face
    /// cache.
    /// </summary>
    /// <param name="given">The folder or the name; <see langword="null"/> for the shipped model.</param>
    /// <param name="revision">The revision in the cache, if the command line names one.</param>
    /// <returns><see langword="null"/> for the shipped model.</returns>
    /// <exception cref="CliException">The model does not exist, or a folder is given together with a revision.</exception>
    [return: NotNullIfNotNull(nameof(given))]
    public static string? Resolve(string? given, string? revision)
    {
        if (given is null)
        {
            return revision is null ? null : throw new CliException(
                ExitCode.Usage, "--revision applies only to models in the Hugging Face cache, and the shipped model is not in it. Name a model by --model ORG/NAME.");
        }

        bool isFolder = Directory.Exists(given);
        if (isFolder || !HuggingFaceCache.IsModelName(given))
        {
            return revision is null ? given : throw new CliException(
                ExitCode.Usage,
                $"--revision applies only to models in the Hugging Face cache, and '{given}' is {(isFolder ? "a folder" : "not of the form ORG/NAME")}. "
                + "Omit --revision, or name the model as ORG/NAME.");
        }

        try
        {
            return HuggingFaceCache.FromEnvironment().GetModelFolder(given, revision ?? HuggingFaceCache.DefaultRevision);
        }
        catch (StellaModelFolderException e) when (revision is null)
        {
            // The value may be a mistyped path or a name, so the message names both.
            throw new CliException(ExitCode.ModelRefused, $"'{given}' is neither a folder nor a downloaded model.", e);
        }
    }
}
