// Steps of a release that run on any machine. .github/workflows/release.yml adds the identity, the signatures and the uploads.

var release = artifacts.Combine("release");
var checksums = packages.CombineWithFilePath("SHA256SUMS");

Task("ReleaseCheck")
    .Description("Checks that the version, the changelog and the recorded public API belong to --tag=vVERSION. Writes the notes of the release to artifacts/release/notes.md.")
    .Does(() =>
{
    var version = PackageVersion();
    var tag = Argument("tag", "");
    if (tag != $"v{version}")
    {
        throw new CakeException($"The tag '{tag}' does not belong to version {version} of src/Directory.Build.props. Tag v{version}, or change the version.");
    }

    var sections = ChangelogSections();
    if (sections.Length == 0 || sections[0].Version != version)
    {
        throw new CakeException($"The first section of CHANGELOG.md is {(sections.Length == 0 ? "missing" : $"that of {sections[0].Version}")}. Add a section for {version} above it.");
    }

    if (!DateOnly.TryParseExact(sections[0].State, "yyyy-MM-dd", out _))
    {
        throw new CakeException($"CHANGELOG.md says '{sections[0].State}' of {version}. Write the date of the release there: ## {version} (YYYY-MM-DD)");
    }

    if (sections[0].Text.Length == 0)
    {
        throw new CakeException($"The section of {version} in CHANGELOG.md is empty. Write what changed.");
    }

    CheckRecordedApi(sections.Select(s => s.Version));
    EnsureDirectoryExists(release);
    System.IO.File.WriteAllText(release.CombineWithFilePath("notes.md").FullPath, WithAbsoluteLinks(sections[0].Text, tag) + "\n");
    Information("{0}: version, changelog and public API agree.", tag);
});

Task("Checksums")
    .Description("Writes SHA256SUMS with the hashes of packages, symbol packages and bills of materials, in the format of sha256sum.")
    .IsDependentOn("Sbom")
    .Does(() => WriteChecksums());

Task("ReleaseRehearsal")
    .Description("Pushes the packages to a folder feed with the script of the release, and installs the libraries and the tool from it.")
    .IsDependentOn("Checksums")
    .Does(() =>
{
    var feed = release.Combine("feed");
    CleanDirectory(feed);
    Run("bash", $".ci/publish {packages} {feed}");
    // A folder takes no symbol packages. A server gets each one from beside its package.
    foreach (var file in GetFiles($"{packages}/*.nupkg"))
    {
        var copy = feed.CombineWithFilePath(file.GetFilename());
        if (!FileExists(copy) || Sha256(copy) != Sha256(file) || !FileExists(file.ChangeExtension("snupkg")))
        {
            throw new CakeException($"{file.GetFilename()} is not in {feed} with the same bytes, or has no symbol package beside it. Run: dotnet cake --target=ReleaseRehearsal");
        }
    }

    InstallFrom(feed);
});

/// Returns the sections of the changelog, newest first: ## VERSION (STATE).
(string Version, string State, string Text)[] ChangelogSections()
{
    var text = System.IO.File.ReadAllText(root.CombineWithFilePath("CHANGELOG.md").FullPath).ReplaceLineEndings("\n");
    var headings = Regex.Matches(text, @"^## (\S+)(?: \((.+)\))?$", RegexOptions.Multiline);
    return headings
        .Select((m, i) => (m.Groups[1].Value, m.Groups[2].Value, text[(m.Index + m.Length)..(i + 1 < headings.Count ? headings[i + 1].Index : text.Length)].Trim()))
        .ToArray();
}

/// Makes the links to files of the tree absolute in a run of the workflow, because the page of a release has no folder.
string WithAbsoluteLinks(string text, string tag) => EnvironmentVariable("GITHUB_REPOSITORY") is { Length: > 0 } repository
    ? Regex.Replace(text, @"\]\((?!https?:)", $"]({EnvironmentVariable("GITHUB_SERVER_URL")}/{repository}/blob/{tag}/")
    : text;

/// Checks that the public API of a release is recorded: no API is listed as unshipped, and the baseline is of this or of an earlier version.
void CheckRecordedApi(IEnumerable<string> versions)
{
    foreach (var project in projects.Where(HasPublicApi))
    {
        var file = $"src/{project}/PublicAPI.Unshipped.txt";
        var unshipped = System.IO.File.ReadAllLines(root.CombineWithFilePath(file).FullPath).Count(line => line.Length > 0 && !line.StartsWith('#'));
        if (unshipped > 0)
        {
            throw new CakeException($"{file} lists {unshipped} names, which a release ships. Move them to PublicAPI.Shipped.txt.");
        }

        var baseline = ApiBaselineOf(project).GetFilenameWithoutExtension().FullPath[(project.Length + 1)..];
        if (!versions.Contains(baseline) || !FileExists(ApiBaselineOf(project)))
        {
            throw new CakeException($"The API baseline {baseline} of {project} is not a released version, or .api lacks its package. Correct ApiBaselineVersion in src/Directory.Build.props, or run: dotnet cake --target=ApiBaseline");
        }
    }
}

void WriteChecksums()
{
    var files = GetFiles($"{packages}/*.*nupkg").Concat(GetFiles($"{packages}/*.cdx.json")).OrderBy(f => f.GetFilename().ToString(), StringComparer.Ordinal).ToArray();
    System.IO.File.WriteAllText(checksums.FullPath, string.Concat(files.Select(f => $"{Sha256(f)}  {f.GetFilename()}\n")));
    Information("{0}: {1} files.", checksums.GetFilename(), files.Length);
}

/// Installs all packages of a feed into empty folders: libraries into a project, the tool as a tool. Their dependencies come from the
/// package sources of the machine.
void InstallFrom(DirectoryPath feed)
{
    var folder = release.Combine("install");
    CleanDirectory(folder);
    var environment = new Dictionary<string, string> { ["NUGET_PACKAGES"] = folder.Combine("packages").FullPath };
    var contents = GetFiles($"{feed}/*.nupkg").Select(PackageIdentity).ToArray();
    // Empty files keep the settings of the source tree out of the project.
    foreach (var name in new[] { "Directory.Build.props", "Directory.Build.targets", "Directory.Packages.props" })
    {
        Write(name, "<Project />");
    }

    var sources = Output("dotnet", "nuget list source --format short").Where(l => l.StartsWith("E ")).Select((l, i) => (Key: $"machine-{i}", Path: l[2..])).ToArray();
    Write("nuget.config", new XElement(
        "configuration",
        new XElement("packageSources", new XElement("clear"), sources.Append((Key: "feed", Path: feed.FullPath)).Select(s => new XElement("add", new XAttribute("key", s.Key), new XAttribute("value", s.Path)))),
        new XElement("packageSourceMapping", sources.Select(s => Mapping(s.Key, "*")).Append(Mapping("feed", "StellaInterop*")))).ToString());
    Write("Install.csproj", new XElement(
        "Project",
        new XAttribute("Sdk", "Microsoft.NET.Sdk"),
        new XElement("PropertyGroup", new XElement("TargetFramework", "net10.0")),
        new XElement("ItemGroup", contents.Where(p => p.Type == "Dependency").Select(p => new XElement("PackageReference", new XAttribute("Include", p.Id), new XAttribute("Version", $"[{p.Version}]"))))).ToString());
    Run("dotnet", $"restore {folder}/Install.csproj", environment);
    foreach (var (id, version, _) in contents.Where(p => p.Type == "DotnetTool"))
    {
        Run("dotnet", $"tool install {id} --version {version} --tool-path {folder.Combine("tools")} --configfile {folder}/nuget.config", environment);
        Run(folder.CombineWithFilePath("tools/stella").FullPath, "--version");
    }

    Information("{0} packages of {1} were installed.", contents.Length, PackageVersion());

    XElement Mapping(string source, string pattern) => new("packageSource", new XAttribute("key", source), new XElement("package", new XAttribute("pattern", pattern)));
    void Write(string name, string text) => System.IO.File.WriteAllText(folder.CombineWithFilePath(name).FullPath, text);
}

/// Reads id, version and type of a package. A package without a type is a dependency.
(string Id, string Version, string Type) PackageIdentity(FilePath file)
{
    using var archive = ZipFile.OpenRead(file.FullPath);
    using var nuspec = archive.Entries.Single(e => !e.FullName.Contains('/') && e.FullName.EndsWith(".nuspec")).Open();
    var metadata = XDocument.Load(nuspec).Root.Elements().Single(e => e.Name.LocalName == "metadata");
    string Value(string name) => metadata.Elements().Single(e => e.Name.LocalName == name).Value;
    return (Value("id"), Value("version"), (string)metadata.Descendants().FirstOrDefault(e => e.Name.LocalName == "packageType")?.Attribute("name") ?? "Dependency");
}
