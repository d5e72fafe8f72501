using System.CommandLine;
using System.Diagnostics.CodeAnalysis;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli;

/// <summary>Where a model lies that a command line names by its folder or as <c>org/name</c>.</summary>
internal static class ModelLocation
{
    public const string HelpName = "DIR|ORG/NAME";

    /// <summary>--revision of the commands that take a model from the Hugging Face cache.</summary>
    public static Option<string?> RevisionOption()
    {
        var option = new Option<string?>("--revision")
        {
            Description = "Revision of a model in the Hugging Face cache: a branch, a tag, refs/pr/N or a commit in full. "
                + $"Default: {HuggingFaceCache.DefaultRevision}.",
            HelpName = "REV",
        };
        RefuseOthers(option);
        return option;
    }

    /// <summary>Refuses values that are no revision.</summary>
    public static void RefuseOthers(Option option) => option.Validators.Add(result =>
    {
        foreach (var token in result.Tokens.Where(token => !HuggingFaceCache.IsRevision(token.Value)))
        {
            result.AddError($"'{token.Value}' is not the name of a branch, a tag or a commit.");
        }
    });

    /// <summary>
    /// Returns the folder of a model. A value that is not a folder and looks like a name is looked up in the Hugging Face cache.
    /// </summary>
    /// <param name="given">The folder or the name; <see langword="null"/> for the shipped model.</param>
    /// <param name="revision">The revision in the cache, if the command line names one.</param>
    /// <returns><see langword="null"/> for the shipped model.</returns>
    /// <exception cref="CliException">The model is not there, or a folder is given together with a revision.</exception>
    [return: NotNullIfNotNull(nameof(given))]
    public static string? Resolve(string? given, string? revision)
    {
        if (given is null)
        {
            return revision is null ? null : throw new CliException(
                ExitCode.Usage, "--revision is for a model of the Hugging Face cache, and the shipped model has none. Name it: --model ORG/NAME.");
        }

        bool isFolder = Directory.Exists(given);
        if (isFolder || !HuggingFaceCache.IsModelName(given))
        {
            return revision is null ? given : throw new CliException(
                ExitCode.Usage,
                $"--revision is for a model of the Hugging Face cache, and '{given}' is {(isFolder ? "a folder" : "not a name as ORG/NAME")}. "
                + "Leave --revision out, or name the model as ORG/NAME.");
        }

        try
        {
            return HuggingFaceCache.FromEnvironment().GetModelFolder(given, revision ?? HuggingFaceCache.DefaultRevision);
        }
        catch (StellaModelFolderException e) when (revision is null)
        {
            // A relative path may look like a name, so both are told.
            throw new CliException(ExitCode.ModelRefused, $"'{given}' is neither a folder here nor a downloaded model", e);
        }
    }
}
