// Creates, checks and compares packages.

using System.IO.Compression;

// The projects with packages, in the order in which they are packed.
var projects = new[] { "StellaInterop", "StellaInterop.Extensions", "StellaInterop.Server", "StellaInterop.Bulk", "StellaInterop.Models.Mini", "StellaInterop.Cli" };

// The projects whose packages contain the native library.
var withNative = new[] { "StellaInterop", "StellaInterop.Cli" };

string PackageVersion() =>
    XDocument.Load(root.CombineWithFilePath("src/Directory.Build.props").FullPath).Descendants("Version").Single().Value;

DateTimeOffset CommitTime() => DateTimeOffset.FromUnixTimeSeconds(long.Parse(Output("git", "log -1 --format=%ct")[0]));

/// Packs the projects of a source tree. The files in the packages have the time of the commit instead of the current time, so that the
/// same sources result in the same bytes.
void PackInto(DirectoryPath output, DirectoryPath tree, string[] wanted)
{
    CleanDirectory(output);
    foreach (var project in projects)
    {
        // Without this semaphore file, MSBuild compares the API again even if only the baseline has changed.
        DeleteFiles($"{tree}/src/{project}/obj/**/Microsoft.NET.ApiCompat.ValidatePackage.semaphore");
        DotNetPack($"{tree}/src/{project}", new DotNetPackSettings
        {
            Configuration = configuration,
            NoRestore = true,
            OutputDirectory = output,
            MSBuildSettings = new DotNetMSBuildSettings()
                .WithProperty("ContinuousIntegrationBuild", "true")
                .WithProperty("DeterministicTimestamp", $"{CommitTime().ToUnixTimeSeconds()}")
                .WithProperty("NativeBuildRoot", $"{artifacts}/native/")
                .WithProperty("PackedRids", string.Join('+', wanted)),
        });
    }
}

// The command-line tool has no public API.
bool HasPublicApi(string project) => project != "StellaInterop.Cli";

FilePath ApiBaselineOf(string project)
{
    var version = XDocument.Load(root.CombineWithFilePath("src/Directory.Build.props").FullPath).Descendants("ApiBaselineVersion").Single().Value;
    return root.Combine(".api").CombineWithFilePath($"{project}.{version}.nupkg");
}

/// Writes a package with only the reference assembly of a project, without internals. Package validation needs no more, and the package
/// has a few kilobytes.
void WriteApiBaseline(string project)
{
    var file = ApiBaselineOf(project);
    CreateDirectory(file.GetDirectory());
    var version = file.GetFilenameWithoutExtension().FullPath[(project.Length + 1)..];
    var nuspec = $"<package xmlns=\"http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd\"><metadata><id>{project}</id><version>{version}</version>"
        + "<authors>StellaInterop</authors><description>The public API that later versions keep.</description></metadata></package>";
    using var package = new ZipArchive(System.IO.File.Create(file.FullPath), ZipArchiveMode.Create);
    Add($"{project}.nuspec", System.Text.Encoding.UTF8.GetBytes(nuspec));
    Add($"lib/net10.0/{project}.dll", System.IO.File.ReadAllBytes($"./src/{project}/obj/{configuration}/net10.0/ref/{project}.dll"));
    Information("{0}", file);

    void Add(string name, byte[] content)
    {
        var entry = package.CreateEntry(name, CompressionLevel.SmallestSize);
        entry.LastWriteTime = new DateTimeOffset(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);
        using var stream = entry.Open();
        stream.Write(content);
    }
}

/// Runs a test project on the packages of Pack.
void TestPackages(string project) => DotNetTest($"./tests/{project}", new DotNetTestSettings
{
    Configuration = configuration,
    ResultsDirectory = testResults,
    Loggers = { "trx" },
    EnvironmentVariables = { ["STELLA_PACKAGES"] = packages.FullPath },
    MSBuildSettings = new DotNetMSBuildSettings().WithProperty("HasCompiler", "true"),
});

/// Checks that each package and its symbols exist, and that the packages contain the native library of each wanted platform. A
/// platform without a built library is in no package, so it fails here if it is wanted.
void CheckPackages(string[] wantedRids)
{
    var libraryRids = new List<string>();
    foreach (var project in projects)
    {
        if (HasPublicApi(project) && !FileExists(ApiBaselineOf(project)))
        {
            // MSBuild would pack without a warning.
            throw new CakeException($"{ApiBaselineOf(project)} is missing, so the public API cannot be compared with that of the release. Run: dotnet cake --target=ApiBaseline");
        }

        var file = packages.CombineWithFilePath($"{project}.{PackageVersion()}.nupkg");
        if (!FileExists(file) || !FileExists(file.ChangeExtension("snupkg")))
        {
            throw new CakeException($"{file.GetFilename()} or its symbol package was not created.");
        }

        using var archive = ZipFile.OpenRead(file.FullPath);
        var names = archive.Entries.Select(e => e.FullName).ToArray();
        var missing = new[] { "README.md", "LICENSE", "icon.png" }.Except(names)
            .Concat(!withNative.Contains(project) ? [] : wantedRids.Select(NativeEntry).Where(e => !names.Any(n => n.EndsWith(e))))
            .ToArray();
        if (missing.Length > 0)
        {
            throw new CakeException($"{file.GetFilename()} does not contain {string.Join(", ", missing)}.");
        }

        var contained = rids.Keys.Where(rid => names.Any(n => n.EndsWith(NativeEntry(rid))));
        Information("{0}: {1:N0} bytes. Native libraries: {2}", file.GetFilename(), FileSize(file), string.Join(", ", contained.DefaultIfEmpty("none")));
    }
}

string NativeEntry(string rid) => $"runtimes/{rid}/native/{EntryOf(rid).LibraryFile}";

/// Copies all files that git does not ignore into another working tree of the same repository. Keeps the times of the files.
void CopyTree(DirectoryPath copy)
{
    CleanDirectory(copy);
    foreach (var name in Output("git", "-c core.quotepath=off ls-files --cached --others --exclude-standard").Where(n => FileExists(root.CombineWithFilePath(n))))
    {
        var to = copy.CombineWithFilePath(name);
        EnsureDirectoryExists(to.GetDirectory());
        System.IO.File.Copy(root.CombineWithFilePath(name).FullPath, to.FullPath);
    }

    System.IO.File.WriteAllText(copy.CombineWithFilePath(".git").FullPath, $"gitdir: {Output("git", "rev-parse --absolute-git-dir")[0]}\n");
}

/// Checks that the packages of two folders have the same bytes. Prints the differing entries if they do not.
void ComparePackages(DirectoryPath first, DirectoryPath second)
{
    var names = GetFiles($"{first}/*.*nupkg").Select(f => f.GetFilename().ToString()).Order().ToArray();
    var differing = names.Where(n => Sha256(first.CombineWithFilePath(n)) != Sha256(second.CombineWithFilePath(n))).ToArray();
    foreach (var name in differing)
    {
        var entries = new[] { first, second }.Select(folder => Entries(folder.CombineWithFilePath(name))).ToArray();
        var parts = entries[0].Keys.Union(entries[1].Keys).Where(e => entries[0].GetValueOrDefault(e) != entries[1].GetValueOrDefault(e));
        Error("{0} differs: {1}", name, string.Join(", ", parts.DefaultIfEmpty("the times or the compression of its entries")));
    }

    if (differing.Length > 0)
    {
        throw new CakeException($"Two builds of the same sources differ in {string.Join(", ", differing)}. The differing entries are above.");
    }

    Information("EQUAL: {0} packages from a copy of the source tree have the same bytes.", names.Length);
}

Dictionary<string, string> Entries(FilePath package)
{
    using var archive = ZipFile.OpenRead(package.FullPath);
    return archive.Entries.ToDictionary(e => e.FullName, e =>
    {
        using var stream = e.Open();
        return Convert.ToHexString(SHA256.HashData(stream));
    });
}

/// Checks that each project of the solution has a lock file, and that no other lock files exist. Even in locked mode, NuGet would
/// create a missing lock file and succeed.
void CheckPackageLists()
{
    var wanted = Regex.Matches(System.IO.File.ReadAllText(solution.FullPath), @"([^\\""/]+)\.csproj""").Select(m => m.Groups[1].Value).Order().ToArray();
    var existing = GetFiles($"{packageLists}/*/packages.lock.json").Select(f => f.GetDirectory().GetDirectoryName()).Order().ToArray();
    var differing = wanted.Except(existing).Select(name => $"{name} has no lock file").Concat(existing.Except(wanted).Select(name => $"{name} is not a project of the solution")).ToArray();
    if (differing.Length > 0)
    {
        throw new CakeException($"The lock files in .locks do not match the solution: {string.Join("; ", differing)}. Run: dotnet cake --target=LockPackages");
    }
}
