using System.CommandLine;
using System.Globalization;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary><c>stella verify</c>: whether a model is what its manifest says.</summary>
internal static class VerifyCommand
{
    /// <summary>What a state is called, and what to do about it.</summary>
    private static readonly (StellaFileState State, string Word)[] Words =
    [
        (StellaFileState.Valid, "good"),
        (StellaFileState.Missing, "missing"),
        (StellaFileState.WrongSize, "wrong size"),
        (StellaFileState.WrongHash, "wrong hash"),
        (StellaFileState.WrongSha256, "wrong sha256"),
        (StellaFileState.WrongBlake3, "wrong blake3"),
        (StellaFileState.Unlisted, "unlisted"),
    ];

    public static Command Create()
    {
        var command = new Command(
            "verify",
            $"""
            Compares a model with its manifest, one line a file: good, missing, wrong size, wrong hash (wrong sha256 or
            wrong blake3 where it has both and one is right), or unlisted for a file of the model that the manifest does not
            know. Anything but good is exit code 3.
            Without a manifest it writes the SHA-256 of every file, and which published Stella file it is where that is known.
            """);
        Argument<string> folder = ManifestCommand.FolderArgument();
        var manifest = new Option<string?>("--manifest")
        {
            Description = $"The manifest. Default: {StellaManifest.FileName} in the folder.",
            HelpName = "FILE",
        };
        Option<string?> revision = ModelLocation.RevisionOption();
        command.Add(folder);
        command.Add(revision);
        command.Add(manifest);
        command.Add(ModelArguments.Verbosity.Option);
        command.SetAction((parsed, cancellationToken) =>
        {
            string path = ModelLocation.Resolve(parsed.GetRequiredValue(folder), parsed.GetValue(revision));
            string beside = Path.Combine(path, StellaManifest.FileName);
            string? source = parsed.GetValue(manifest) ?? (File.Exists(beside) ? beside : null);
            ExitCode code = source is null
                ? PrintHashes(HashProgress.Show(parsed, progress => StellaManifest.Create(path, progress, cancellationToken)))
                : PrintStates(Verify(StellaManifest.Load(source)), source);
            return Task.FromResult((int)code);

            StellaVerification Verify(StellaManifest expected) =>
                HashProgress.Show(parsed, progress => expected.Verify(path, progress, cancellationToken));
        });
        return command;
    }

    private static ExitCode PrintStates(StellaVerification found, string manifest)
    {
        foreach (StellaVerifiedFile file in found.Files)
        {
            Output.Result($"{Words.First(row => row.State == file.State).Word,-12}  {file.Path}");
        }

        if (found.IsValid)
        {
            return ExitCode.Good;
        }

        int bad = found.Files.Count(file => file.State != StellaFileState.Valid);
        ErrorReport.Write(string.Create(
            CultureInfo.InvariantCulture,
            $"{bad} of {found.Files.Count} files are not what {manifest} says; do not use the model, get it again"));
        return ExitCode.ModelRefused;
    }

    private static ExitCode PrintHashes(StellaManifest found)
    {
        Output.Note("note: there is no manifest to compare with; these are the hashes of what is there");
        foreach (var (path, file) in found.Files)
        {
            string known = StellaPublishedFiles.Find(file.Sha256) is { } published
                ? $"  = {published.Repository} {published.Path}"
                : "";
            Output.Result($"{file.Sha256}  {path}{known}");
        }

        return ExitCode.Good;
    }
}
