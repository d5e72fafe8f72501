using System.CommandLine;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Terminal;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella manifest</c>, which writes the sizes and hashes of the files of a model.</summary>
internal static class ManifestCommand
{
    public static Command Create()
    {
        var command = new Command(
            "manifest",
            $"""
            Hashes the files of a model and writes {StellaManifest.FileName} into its folder, for `stella verify`.
            The manifest describes the files as they are now. Create it at the trusted source of the files.
            """);
        Argument<string> folder = ModelLocation.CreateFolderArgument();
        var output = new Option<string?>("--output")
        {
            Description = $"Path of the manifest. Default: {StellaManifest.FileName} in the model folder.",
            HelpName = "FILE",
        };
        Option<string?> revision = ModelLocation.CreateRevisionOption();
        command.Add(folder);
        command.Add(revision);
        command.Add(output);
        command.Add(VerbosityOption.Instance.Option);
        command.SetAction((parsed, cancellationToken) =>
        {
            string path = ModelLocation.Resolve(parsed.GetRequiredValue(folder), parsed.GetValue(revision));
            string target = parsed.GetValue(output) ?? Path.Combine(path, StellaManifest.FileName);
            StellaManifest manifest = HashProgress.Show(
                parsed, progress => StellaManifest.Create(path, progress, cancellationToken));
            manifest.Save(target);
            ConsoleOutput.WriteResult(target);
            return Task.FromResult((int)ExitCode.Success);
        });
        return command;
    }
}
