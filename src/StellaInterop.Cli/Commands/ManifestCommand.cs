using System.CommandLine;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella manifest</c>: sizes and hashes of a model, written beside it.</summary>
internal static class ManifestCommand
{
    public static Command Create()
    {
        var command = new Command(
            "manifest",
            $"""
            Hashes the files that make a model and writes {StellaManifest.FileName} into its folder, for `stella verify`.
            It vouches for the folder as it is now: make it where the files come from, not where they are doubted.
            """);
        Argument<string> folder = FolderArgument();
        var output = new Option<string?>("--output")
        {
            Description = $"Where to write it. Default: {StellaManifest.FileName} in the folder.",
            HelpName = "FILE",
        };
        Option<string?> revision = ModelLocation.RevisionOption();
        command.Add(folder);
        command.Add(revision);
        command.Add(output);
        command.Add(ModelArguments.Verbosity.Option);
        command.SetAction((parsed, cancellationToken) =>
        {
            string path = ModelLocation.Resolve(parsed.GetRequiredValue(folder), parsed.GetValue(revision));
            string target = parsed.GetValue(output) ?? Path.Combine(path, StellaManifest.FileName);
            StellaManifest manifest = HashProgress.Show(
                parsed, progress => StellaManifest.Create(path, progress, cancellationToken));
            manifest.Save(target);
            Output.Result(target);
            return Task.FromResult((int)ExitCode.Good);
        });
        return command;
    }

    public static Argument<string> FolderArgument() => new(ModelLocation.HelpName)
    {
        Description = "Model folder, or the name of a model in the Hugging Face cache.",
    };
}
