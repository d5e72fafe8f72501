// The build of StellaInterop.
//
//     dotnet tool restore
//     dotnet cake --tree                 prints all tasks and their dependencies
//     dotnet cake --target=Native        builds the native library of this machine from source
//     dotnet cake --target=CI            runs all checks of a change, except for the C# tests
//
// On a machine without access to the crate registry, STELLA_CARGO_CONFIG names an extra cargo configuration file, such as
// one that replaces the registry with a mirror.

using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;

var target = Argument("target", "Default");
var configuration = Argument("configuration", "Release");

var root = Context.Environment.WorkingDirectory;
var solution = root.CombineWithFilePath("StellaInterop.sln");
var native = root.Combine("native");
var artifacts = root.Combine("artifacts");
var packages = artifacts.Combine("packages");
var testResults = artifacts.Combine("test-results");
var bindings = root.CombineWithFilePath("src/StellaInterop/Interop/Abi/NativeMethods.g.cs");
var bindingsAtStart = System.IO.File.ReadAllText(bindings.FullPath);
var packageLists = root.Combine(".locks");
var notices = root.CombineWithFilePath("THIRD-PARTY-NOTICES.md");

// MSBuild and this script share the table of runtime identifiers in native/Rids.props.
record NativeRid(string Rid, string RustTarget, string LibraryFile);
var rids = XDocument.Load(native.CombineWithFilePath("Rids.props").FullPath)
    .Descendants("NativeRid")
    .Select(e => new NativeRid((string)e.Attribute("Include"), (string)e.Attribute("RustTarget"), (string)e.Attribute("LibraryFile")))
    .ToDictionary(r => r.Rid);

var machine = HostRid();

#load ".cake/SourceHash.cs"
#load ".cake/CheckRecord.cs"
#load ".cake/advisories.cake"
#load ".cake/checks.cake"
#load ".cake/clients.cake"
#load ".cake/foreign.cake"
#load ".cake/glibc.cake"
#load ".cake/licences.cake"
#load ".cake/native.cake"
#load ".cake/packages.cake"
#load ".cake/readers.cake"
#load ".cake/release.cake"
#load ".cake/toolchains.cake"
#load ".cake/workflows.cake"

// ---------------------------------------------------------------------------------------------------- tasks

Task("Clean")
    .Description("Deletes the outputs of the other tasks. Keeps the build folder of cargo and the toolchains unless --full is given.")
    .Does(() =>
{
    if (HasArgument("full") && DirectoryExists(toolchainRoot))
    {
        // A Debian system has links to folders outside, and rm does not follow them.
        Run("rm", $"-rf {toolchainRoot}");
    }

    EnsureDirectoryExists(artifacts);
    foreach (var folder in GetSubDirectories(artifacts).Where(folder => folder.FullPath != toolchainRoot.FullPath))
    {
        CleanDirectory(folder);
    }

    CleanDirectories("./src/**/bin");
    CleanDirectories("./src/**/obj");
    CleanDirectories("./tests/**/bin");
    CleanDirectories("./tests/**/obj");
    CleanDirectories("./bench/**/bin");
    CleanDirectories("./bench/**/obj");
    if (HasArgument("full"))
    {
        CleanDirectory(native.Combine("target"));
    }
});

Task("Toolchains")
    .Description("Installs the compilers for --rids=A,B, or for all platforms that this machine can build for, into artifacts/toolchains (root on Debian, linux-x64).")
    .Does(() => InstallToolchains(RidArgument(toolchains.Select(t => t.Rid).ToArray()).Select(ToolchainOf)));

Task("Native")
    .Description("Builds the native library of this machine, or of --rid=RID, reproducibly into artifacts/native/<rid>, with a manifest.")
    .Does(() => BuildNative(Argument("rid", machine)));

Task("Prebuilt")
    .Description("Replaces the committed libraries, or those of --rids=A,B, with new builds.")
    .Does(() =>
{
    foreach (var rid in RidArgument(prebuiltRids))
    {
        BuildNative(rid);
        EnsureDirectoryExists(PrebuiltFolder(rid));
        CopyFiles(GetFiles($"{BuiltFolder(rid)}/*"), PrebuiltFolder(rid));
    }
});

Task("CheckPrebuilt")
    .Description("Checks that the committed libraries belong to the sources, and that new builds with the same tools have the same bytes. Builds for the platforms whose compilers are installed.")
    .Does(() =>
{
    // All committed files are checked before the first build, which takes minutes.
    foreach (var rid in prebuiltRids)
    {
        CheckCommitted(rid);
    }

    foreach (var rid in prebuiltRids)
    {
        ComparePrebuilt(rid);
    }
});

Task("Bindings")
    .Description("Generates the C# imports from the Rust exports, and fails if the committed file differs.")
    .Does(() =>
{
    // Every cargo command may run the build script of stella-ffi, which rewrites the file if it differs. So the file is
    // compared with its text from before the first cargo command. The script also runs again if the file was touched.
    Cargo("check --locked --workspace --all-features");
    if (System.IO.File.ReadAllText(bindings.FullPath) != bindingsAtStart)
    {
        throw new CakeException($"{bindings.GetFilename()} did not match the Rust exports and has been rewritten. Commit it.");
    }
});

Task("Notices")
    .Description("Writes THIRD-PARTY-NOTICES.md: the licences of the model, of every crate in the native library, and of every package in the tool. --check only compares.")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var text = ThirdPartyNotices();
    if (!HasArgument("check") && target == "Notices")
    {
        System.IO.File.WriteAllText(notices.FullPath, text);
    }
    else if (System.IO.File.ReadAllText(notices.FullPath) != text)
    {
        throw new CakeException("THIRD-PARTY-NOTICES.md does not match Cargo.lock and the packages of the tool. Run: dotnet cake --target=Notices");
    }
});

Task("NativeLint")
    .Description("Checks the formatting of the Rust code and runs its lints.")
    .Does(() =>
{
    Cargo("fmt --all --check");
    Cargo("clippy --locked --workspace --all-targets --all-features -- -D warnings");
});

Task("NativeTest")
    .Description("Runs the Rust tests, including those of the ABI.")
    .Does(() => Cargo("test --locked --all-features"));

Task("ShippedTest")
    .Description("Tests the release build of the native library: the kernels, memory use, freed memory, the float64 reference, equal bits in any batch (Linux).")
    .Does(() =>
{
    // The kernels have code for each instruction set of the processor, so each machine tests other code.
    var build = BuildOf(machine);
    var flags = ReproducibleFlags(build);
    Cargo($"test {ReleaseSelection(build, "stella-kernels")} --lib --tests", flags);
    Cargo($"build {ReleaseSelection(build)} --example measure", flags);
    Cargo($"test {ReleaseSelection(build)} --test estimate --test golden --test allocations --test heap -- {string.Join(' ', releaseBuildTests)}", flags);
});

Task("Restore")
    .Description("Restores the NuGet packages. In CI (CI=true), restores only the packages listed in .locks and checks their hashes.")
    .Does(() =>
{
    if (EnvironmentVariable("CI") == "true")
    {
        CheckPackageLists();
    }

    DotNetRestore(solution.FullPath);
});

Task("LockPackages")
    .Description("Writes the lock files in .locks that CI restores from. Run this task after a package reference or version changes.")
    .Does(() =>
{
    CleanDirectory(packageLists);
    Run("dotnet", $"restore {solution} --force-evaluate -p:RestoreLockedMode=false", new() { ["CI"] = "true" });
    CheckPackageLists();
});

Task("Lint")
    .Description("Checks the formatting of the C# code. The analyzers run in every build.")
    .IsDependentOn("Restore")
    .Does(() => DotNetFormat(solution.FullPath, new DotNetFormatSettings { NoRestore = true, VerifyNoChanges = true }));

Task("Build")
    .Description("Builds the C# solution.")
    .IsDependentOn("Restore")
    .Does(() => DotNetBuild(solution.FullPath, new DotNetBuildSettings { Configuration = configuration, NoRestore = true }));

Task("Test")
    .Description("Runs the C# tests.")
    .IsDependentOn("Build")
    .Does(() => DotNetTest(solution.FullPath, new DotNetTestSettings
    {
        Configuration = configuration,
        NoBuild = true,
        NoRestore = true,
        ResultsDirectory = testResults,
        Loggers = { "trx" },
    }));

Task("LockOrder")
    .Description("Runs the tests of the pool in a debug build, which asserts the order in which threads take locks.")
    .IsDependentOn("Restore")
    .Does(() => Run("dotnet", "test tests/StellaInterop.Tests -c Debug --no-restore --filter FullyQualifiedName~Tests.Serving|FullyQualifiedName~Tests.Threading"));

Task("Bench")
    .Description("Runs the BenchmarkDotNet benchmarks, or those that match --filter=NAME. bench/README.md has the commands of the others.")
    .IsDependentOn("Restore")
    .Does(() => DotNetRun("./bench/StellaInterop.Bench", new ProcessArgumentBuilder().Append("micro").Append("--filter").AppendQuoted(Argument("filter", "*")),
        new DotNetRunSettings { Configuration = "Release", NoRestore = true }));

Task("Docs")
    .Description("Writes the generated parts of the documents: error codes and the ABI. Tests compare them with the code.")
    .IsDependentOn("Build")
    .Does(() => Run(
        "dotnet",
        $"test tests/StellaInterop.DocsTests -c {configuration} --no-build --filter FullyQualifiedName~GeneratedDocumentTests",
        new() { ["STELLA_WRITE_DOCS"] = "1" }));

Task("ApiReference")
    .Description("Builds the documentation with the API reference in artifacts/docs, and fails on a broken link.")
    .IsDependentOn("Restore")
    .Does(() => Run("dotnet", $"docfx .cake/docfx.json --output {artifacts.Combine("docs")} --warningsAsErrors --logLevel warning"));

Task("PgVector")
    .Description("Tests folder search over PostgreSQL with pgvector, on a server that it sets up (Linux, as root, with debootstrap).")
    .IsDependentOn("Build")
    .Does(() => Run(
        "samples/FolderSearch/pgvector.sh",
        $"{artifacts.Combine("pgvector")} dotnet test tests/StellaInterop.Samples.Tests -c {configuration} --no-build --filter FullyQualifiedName~PostgreSQL"));

Task("Chaos")
    .Description("Runs a bulk job on a cluster of processes under faults for --seconds with --seed, and checks its output (Linux, as root, with debootstrap).")
    .IsDependentOn("Build")
    .Does(() => DotNetRun(
        "./bench/StellaInterop.Chaos",
        $"run --seed {Argument("seed", 1)} --seconds {Argument("seconds", 90)}",
        new DotNetRunSettings { Configuration = configuration, NoBuild = true }));

Task("Soak")
    .Description("Checks the promises of a pool under load for --seconds, then plants defects that the checks must find.")
    .IsDependentOn("Build")
    .Does(() =>
{
    foreach (var arguments in new[] { $"run --seconds {Argument("seconds", 60)}", "control --seconds 20" })
    {
        DotNetRun("./bench/StellaInterop.Soak", arguments, new DotNetRunSettings { Configuration = configuration, NoBuild = true });
    }
});

Task("Pack")
    .Description("Creates the NuGet packages in artifacts/packages, for the platforms in native/prebuilt or for --rids=A,B. Builds the libraries that are not committed.")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var wanted = RidArgument(prebuiltRids);
    foreach (var rid in wanted)
    {
        ProvideNative(rid);
    }

    PackInto(packages, root, wanted);
    CheckPackages(wanted);
});

Task("ApiBaseline")
    .Description("Writes the packages in .api with the public API of this build, or only that of a new package with --project=NAME. Later packages are validated against them. Only for a release that may break the API.")
    .IsDependentOn("Restore")
    .Does(() =>
{
    foreach (var project in projects.Where(HasPublicApi).Where(name => name == Argument("project", name)))
    {
        DotNetBuild($"./src/{project}", new DotNetBuildSettings
        {
            Configuration = configuration,
            NoRestore = true,
            // The same API results in the same bytes, regardless of the commit and of the internals.
            MSBuildSettings = new DotNetMSBuildSettings()
                .WithProperty("ApiBaseline", "true")
                .WithProperty("IncludeSourceRevisionInInformationalVersion", "false")
                .WithProperty("RunAnalyzers", "false"),
        });
        WriteApiBaseline(project);
    }
});

Task("PackAgain")
    .Description("Packs a copy of the source tree in another folder, and fails if a package differs from that of Pack.")
    .IsDependentOn("Pack")
    .Does(() =>
{
    var copy = artifacts.Combine("again/tree");
    var second = artifacts.Combine("again/packages");
    CopyTree(copy);
    DotNetRestore(copy.CombineWithFilePath("StellaInterop.sln").FullPath);
    PackInto(second, copy, RidArgument(prebuiltRids));
    ComparePackages(packages, second);
    CleanDirectory(artifacts.Combine("again"));
});

Task("Smoke")
    .Description("Builds programs with the packages of Pack and runs them in several layouts, trimmed and compiled ahead of time. Needs a C compiler. --no-pack tests existing packages.")
    .IsDependentOn(HasArgument("no-pack") ? "Restore" : "Pack")
    .Does(() =>
{
    TestPackages("StellaInterop.PackageTests");
    TestPackages("StellaInterop.AotTests");
});

Task("AotTest")
    .Description("Runs the part of Smoke that needs a C compiler. The tests of the solution do not need one.")
    .IsDependentOn("Pack")
    .Does(() => TestPackages("StellaInterop.AotTests"));

Task("Sbom")
    .Description("Writes software bills of materials (SBOM) for NuGet packages and crates beside the packages, and fails if a licence is not allowed.")
    .IsDependentOn("Pack")
    .Does(() =>
{
    var components = projects.SelectMany(WriteNuGetSbom).Concat(WriteCrateSbom()).ToArray();
    CheckLicences(components);
    Information("{0} components, each with an allowed licence.", components.DistinctBy(c => c.Name).Count());
});

var ci = Task("CI")
    .Description("Runs all checks of a change, except for the C# tests, which CI runs with the command of the README. Leaves out native checks with recorded results unless --full is given.")
    .IsDependentOn("NativeLint")
    .IsDependentOn("CheckPrebuilt")
    .IsDependentOn("Bindings")
    .IsDependentOn("Notices")
    .IsDependentOn("ShippedTest")
    .IsDependentOn("Lint")
    .IsDependentOn("WorkflowLint")
    .IsDependentOn("NpmClients")
    .IsDependentOn("PartReaders")
    .IsDependentOn("LockOrder")
    .IsDependentOn("PackAgain")
    .IsDependentOn("Sbom")
    .IsDependentOn("ReleaseRehearsal")
    .IsDependentOn("AotTest")
    .IsDependentOn("ApiReference")
    .IsDependentOn("PgVector")
    .IsDependentOn("Chaos");
foreach (var check in DueNativeChecks())
{
    ci.IsDependentOn(check);
}

Task("Default")
    .Description("Builds and tests the C# solution.")
    .IsDependentOn("Test");

RunTarget(target);

// ---------------------------------------------------------------------------------------------------- helpers

string HostRid()
{
    var os = OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : IsMusl() ? "linux-musl" : "linux";
    return $"{os}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";
}

/// Returns whether the C library is musl. The runtime identifier of .NET names the C library; that of Alpine's own build starts with
/// the name of the system.
bool IsMusl() => Regex.IsMatch(RuntimeInformation.RuntimeIdentifier, "musl|^alpine");

/// Runs a program in the root of the source tree, and fails if the program fails.
void Run(string tool, string arguments, Dictionary<string, string> environment = null)
{
    Information("{0} {1}", tool, arguments);
    var exitCode = StartProcess(tool, new ProcessSettings { WorkingDirectory = root, Arguments = arguments, EnvironmentVariables = environment ?? new() });
    if (exitCode != 0)
    {
        throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
    }
}

/// Runs the cargo on the PATH in native/, and fails if cargo fails.
void Cargo(string arguments, Dictionary<string, string> environment = null) => Cargo(null, arguments, environment);

/// Returns the folder of the extra cargo configuration, if there is one.
IEnumerable<string> ExtraCargoFolder() => EnvironmentVariable("STELLA_CARGO_CONFIG") is { Length: > 0 } extra
    ? [System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(extra, root.FullPath))]
    : [];

/// Writes the extra configuration to native/.cargo, which every cargo in native/ reads. Subcommands such as clippy start a second cargo
/// without --config.
void UseExtraCargoConfig()
{
    var extra = EnvironmentVariable("STELLA_CARGO_CONFIG");
    if (string.IsNullOrEmpty(extra))
    {
        return;
    }

    var path = System.IO.Path.GetFullPath(extra, root.FullPath);
    if (!System.IO.File.Exists(path))
    {
        throw new CakeException($"STELLA_CARGO_CONFIG names {path}, which does not exist.");
    }

    EnsureDirectoryExists(native.Combine(".cargo"));
    System.IO.File.WriteAllText(native.CombineWithFilePath(".cargo/config.toml").FullPath, $"include = [{{ path = '{path}' }}]\n");
}

Dictionary<string, string> RustFlags(params string[] flags) => new() { ["RUSTFLAGS"] = string.Join(' ', flags) };

string[] Output(string tool, string arguments) => OutputIn(root, tool, arguments);

string[] OutputIn(DirectoryPath directory, string tool, string arguments)
{
    var settings = new ProcessSettings { Arguments = arguments, WorkingDirectory = directory, RedirectStandardOutput = true };
    var exitCode = StartProcess(tool, settings, out IEnumerable<string> lines);
    return exitCode == 0 ? lines.ToArray() : throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
}

string Sha256(FilePath file) => Convert.ToHexStringLower(SHA256.HashData(System.IO.File.ReadAllBytes(file.FullPath)));
