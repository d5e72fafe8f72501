using System.CommandLine;
using System.Globalization;
using StellaInterop.Cli.Errors;
using StellaInterop.Cli.Loading;
using StellaInterop.Cli.Terminal;
using StellaInterop.ModelFiles;

namespace StellaInterop.Cli.Commands;

/// <summary>Implements <c>stella verify</c>, which compares a model with its manifest.</summary>
internal static class VerifyCommand
{
    /// <summary>The names of the states in the output.</summary>
    private static readonly (StellaFileState State, string Name)[] StateNames =
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
            Compares a model with its manifest and writes one line per file: good, missing, wrong size, wrong hash, or
            unlisted for a file of the model that the manifest does not list. If the manifest has both hashes of a file and
            only one is wrong, the line names it: wrong sha256 or wrong blake3. The exit code is 3 unless all files are good.
            Without a manifest, writes the SHA-256 of each file, and the name of the published Stella file with this hash.
            """);
        Argument<string> folder = ModelLocation.CreateFolderArgument();
        var manifest = new Option<string?>("--manifest")
        {
            Description = $"Path of the manifest. Default: {StellaManifest.FileName} in the model folder.",
            HelpName = "FILE",
        };
        Option<string?> revision = ModelLocation.CreateRevisionOption();
        command.Add(folder);
        command.Add(revision);
        command.Add(manifest);
        command.Add(VerbosityOption.Instance.Option);
        command.SetAction((parsed, cancellationToken) =>
        {
            string path = ModelLocation.Resolve(parsed.GetRequiredValue(folder), parsed.GetValue(revision));
            string defaultManifest = Path.Combine(path, StellaManifest.FileName);
            string? source = parsed.GetValue(manifest) ?? (File.Exists(defaultManifest) ? defaultManifest : null);
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
            ConsoleOutput.WriteResult($"{StateNames.First(entry => entry.State == file.State).Name,-12}  {file.Path}");
        }

        if (found.IsValid)
        {
            return ExitCode.Success;
        }

        int badFiles = found.Files.Count(file => file.State != StellaFileState.Valid);
        ErrorReport.Write(string.Create(
            CultureInfo.InvariantCulture,
            $"{badFiles} of {found.Files.Count} files do not match {manifest}. Do not use the model. Download it again."));
        return ExitCode.ModelRefused;
    }

    private static ExitCode PrintHashes(StellaManifest found)
    {
        ConsoleOutput.WriteMessage("note: There is no manifest to compare with. The hashes are those of the existing files.");
        foreach (var (path, file) in found.Files)
        {
            string publishedName = StellaPublishedFiles.Find(file.Sha256) is { } published
                ? $"  = {published.Repository} {published.Path}"
                : "";
            ConsoleOutput.WriteResult($"{file.Sha256}  {path}{publishedName}");
        }

        return ExitCode.Success;
    }
}
