namespace StellaInterop.Cli;

/// <summary>Where a model lies that a command line names by its folder or as <c>org/name</c>.</summary>
internal static class ModelLocation
{
    public const string HelpName = "DIR|ORG/NAME";

    /// <summary>The folder. What has no folder of its own and looks like a name is looked up in the Hugging Face cache.</summary>
    /// <exception cref="CliException">It is neither a folder nor in the cache.</exception>
    public static string Resolve(string given)
    {
        if (Directory.Exists(given) || !HuggingFaceCache.IsModelName(given))
        {
            return given;
        }

        try
        {
            return HuggingFaceCache.FromEnvironment().Find(given);
        }
        catch (StellaModelFolderException e)
        {
            // A relative path may look like a name, so both are told.
            throw new CliException(ExitCode.ModelRefused, $"'{given}' is neither a folder here nor a downloaded model", e);
        }
    }
}
