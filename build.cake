// The build of StellaInterop: one task for each thing a person does.
//
//     dotnet tool restore
//     dotnet cake --tree                 what there is and what needs what
//     dotnet cake --target=Native        the native library of this machine, from source
//     dotnet cake --target=CI            everything that has to hold before a change lands
//
// Air-gapped machines: STELLA_CARGO_CONFIG names an extra cargo configuration file, such as one that replaces the
// crate registry by a mirror.

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

// One table of runtime identifiers for MSBuild and for this script: native/Rids.props.
record NativeRid(string Rid, string RustTarget, string LibraryFile);
var rids = XDocument.Load(native.CombineWithFilePath("Rids.props").FullPath)
    .Descendants("NativeRid")
    .Select(e => new NativeRid((string)e.Attribute("Include"), (string)e.Attribute("RustTarget"), (string)e.Attribute("LibraryFile")))
    .ToDictionary(r => r.Rid);

var host = Argument("rid", HostRid());
var built = artifacts.Combine("native").Combine(host);
var prebuilt = native.Combine("prebuilt").Combine(host);
const string ManifestName = "manifest.json";

// The fuzz targets: the longest input in bytes, and what one input may cost in seconds and MiB before it counts as a fault.
record FuzzTarget(string Name, int MaxLength, int Seconds, int Megabytes);
var fuzzTargets = new[]
{
    new FuzzTarget("header", 4096, 5, 512),
    new FuzzTarget("config", 4096, 20, 1024),
    new FuzzTarget("tokenizer_json", 8192, 20, 1024),
    new FuzzTarget("tokenize", 8192, 10, 1024),
    new FuzzTarget("abi", 4096, 20, 1024),
};

#load ".cake/glibc.cake"
#load ".cake/licences.cake"
#load ".cake/packages.cake"

// ---------------------------------------------------------------------------------------------------- tasks

Task("Clean")
    .Description("Deletes what the other tasks make. Keeps cargo's cache unless --full is given.")
    .Does(() =>
{
    CleanDirectory(artifacts);
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

Task("Native")
    .Description("Builds the native library of this machine reproducibly into artifacts/native/<rid>, with its manifest.")
    .Does(() =>
{
    var entry = rids[host];
    Cargo("fetch --locked");
    Cargo($"build {ReleaseSelection()}", ReproducibleFlags());
    EnsureDirectoryExists(built);
    CopyFile(native.CombineWithFilePath($"target/{entry.RustTarget}/release/{entry.LibraryFile}"), built.CombineWithFilePath(entry.LibraryFile));
    WriteManifest(built, entry);
    CheckExports(built.CombineWithFilePath(entry.LibraryFile));
    CheckGlibc(built.CombineWithFilePath(entry.LibraryFile));
    Information("{0}: {1:N0} bytes, sha256 {2}", entry.LibraryFile, FileSize(built.CombineWithFilePath(entry.LibraryFile)), Sha256(built.CombineWithFilePath(entry.LibraryFile)));
});

Task("Prebuilt")
    .Description("Replaces the committed library of this machine by a fresh build.")
    .IsDependentOn("Native")
    .Does(() =>
{
    EnsureDirectoryExists(prebuilt);
    CopyFiles(GetFiles($"{built}/*"), prebuilt);
});

Task("CheckPrebuilt")
    .Description("Proves that the committed library is what the sources make: same sources, and the same bytes where compiler and linker are the same.")
    .IsDependentOn("Native")
    .Does(() =>
{
    var entry = rids[host];
    var committed = ReadManifest(prebuilt);
    var fresh = ReadManifest(built);
    var file = prebuilt.CombineWithFilePath(entry.LibraryFile);
    if (Sha256(file) != committed["library_sha256"])
    {
        throw new CakeException($"{file} is not the library that its manifest describes.");
    }

    if (committed["sources_sha256"] != fresh["sources_sha256"])
    {
        throw new CakeException("The native sources have changed since native/prebuilt was made. Run: dotnet cake --target=Prebuilt");
    }

    var tools = new[] { "rustc", "linker" };
    var differing = tools.Where(tool => committed[tool] != fresh[tool]).ToArray();
    if (differing.Length > 0)
    {
        foreach (var tool in differing)
        {
            Warning("{0} here is {1}; the manifest names {2}", tool, fresh[tool], committed[tool]);
        }

        Warning("NOT COMPARED: with other tools the bytes of native/prebuilt cannot be proven. The tests run on the rebuilt library.");
        return;
    }

    if (committed["library_sha256"] != fresh["library_sha256"])
    {
        throw new CakeException(
            $"native/prebuilt/{host}/{entry.LibraryFile} is not what the sources make: {committed["library_sha256"]} is committed, {fresh["library_sha256"]} was built by the same tools.");
    }

    Information("EQUAL: native/prebuilt/{0}/{1} is byte for byte what the sources make ({2}).", host, entry.LibraryFile, fresh["library_sha256"]);
});

Task("Bindings")
    .Description("Generates the C# imports from the Rust exports and fails if the committed file differs.")
    .Does(() =>
{
    // Every cargo command may run the build script of stella-ffi, which writes the file when it differs. So it is
    // compared with what it was before the first one. The script also runs again when the file itself was touched.
    Cargo("check --locked --workspace --all-features");
    if (System.IO.File.ReadAllText(bindings.FullPath) != bindingsAtStart)
    {
        throw new CakeException($"{bindings.GetFilename()} was not what the sources make; it has been written anew. Commit it.");
    }
});

Task("Notices")
    .Description("Writes THIRD-PARTY-NOTICES.md: the model, and every crate in the native library and every package in the tool, with its licence. --check only compares.")
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
        throw new CakeException("THIRD-PARTY-NOTICES.md is not what Cargo.lock asks for. Run: dotnet cake --target=Notices");
    }
});

Task("NativeLint")
    .Description("Formatting and lints of the Rust code.")
    .Does(() =>
{
    Cargo("fmt --all --check");
    Cargo("clippy --locked --workspace --all-targets --all-features -- -D warnings");
});

Task("NativeTest")
    .Description("Tests of the Rust code, the ABI among them.")
    .Does(() => Cargo("test --locked --all-features"));

// Tests, by parts of their names, that run on the library as it ships instead of with AddressSanitizer: its own memory
// would count to the estimate, and forwards on every level take seventy times as long with it. Tests of the kernels and of
// the ABI compute the same with it.
var testsOfTheShipped = new[] { "takes_what_was_estimated", "meets_the_reference", "has_the_same_bits_alone", "allocates_nothing", "gives_memory_back" };

// The fuzz targets are built with the tests, so that one build with AddressSanitizer serves both.
Task("SanitizedBuild")
    .Description("Builds the Rust tests and the fuzz targets with AddressSanitizer (nightly Rust, Linux).")
    .Does(() =>
{
    Require("cargo", "+nightly --version", "rustup toolchain install nightly --profile minimal");
    Require("c++", "--version", "apt-get install g++");
    Cargo($"+nightly build {SanitizedSelection()} --bins", SanitizerFlags());
});

Task("Sanitize")
    .Description("Runs the Rust tests with AddressSanitizer, but for those of ShippedTest.")
    .IsDependentOn("SanitizedBuild")
    .Does(() =>
{
    var environment = SanitizerFlags();
    // As the C library does: an allocation that cannot be had is told, and what the code makes of that is tested.
    environment["ASAN_OPTIONS"] = "allocator_may_return_null=1";
    environment["LSAN_OPTIONS"] = $"suppressions={native.CombineWithFilePath("lsan.supp").FullPath}:print_suppressions=0";
    Cargo($"+nightly test {SanitizedSelection()} -- {string.Join(' ', testsOfTheShipped.Select(name => $"--skip {name}"))}", environment);
});

Task("Fuzz")
    .Description("Runs the fuzz targets for --seconds=60 each, three at a time, or one of them by --fuzz-target=NAME. Findings are kept in artifacts/fuzz.")
    .IsDependentOn("SanitizedBuild")
    .Does(() =>
{
    var only = Argument("fuzz-target", "");
    var chosen = fuzzTargets.Where(t => only == "" || t.Name == only).ToArray();
    if (chosen.Length == 0)
    {
        throw new CakeException($"There is no fuzz target {only}; there are {string.Join(", ", fuzzTargets.Select(t => t.Name))}.");
    }

    var failed = new System.Collections.Concurrent.ConcurrentBag<string>();
    System.Threading.Tasks.Parallel.ForEach(chosen, new System.Threading.Tasks.ParallelOptions { MaxDegreeOfParallelism = 3 }, t =>
    {
        if (!Fuzz(t, Argument("seconds", 60)))
        {
            failed.Add(t.Name);
        }
    });
    if (!failed.IsEmpty)
    {
        throw new CakeException($"Faults were found by: {string.Join(", ", failed.Order())}. Run a target's file again by: native/target/sanitized/{rids[host].RustTarget}/debug/NAME FILE");
    }
});

Task("ShippedTest")
    .Description("Tests of the library as it ships: what memory it takes and gives back, the float64 reference, equal bits in any batch (Linux).")
    .Does(() =>
{
    Cargo($"build {ReleaseSelection()} --example measure", ReproducibleFlags());
    Cargo($"test {ReleaseSelection()} --test estimate --test golden --test allocations --test heap -- {string.Join(' ', testsOfTheShipped)}", ReproducibleFlags());
});

Task("Valgrind")
    .Description("Runs the tests of the ABI under Valgrind, on the library as it ships (Linux).")
    .Does(() =>
{
    Require("valgrind", "--version", "apt-get install valgrind");
    // Cargo starts what it built by this. One thread runs at a time, and without a fair turn one may keep it for minutes.
    var environment = ReproducibleFlags();
    environment[$"CARGO_TARGET_{rids[host].RustTarget.Replace('-', '_').ToUpperInvariant()}_RUNNER"] =
        "valgrind --fair-sched=try --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite --quiet";
    RunTestsAgain($"test {ReleaseSelection()} --test abi -- --test-threads=1", environment);
});

Task("Restore")
    .Description("Fetches the NuGet packages. In CI (CI=true) only those that are listed in .locks, by their hashes.")
    .Does(() =>
{
    if (EnvironmentVariable("CI") == "true")
    {
        CheckPackageLists();
    }

    DotNetRestore(solution.FullPath);
});

Task("LockPackages")
    .Description("Writes the lists of NuGet packages in .locks that CI restores by. Run it when a package reference or its version changes.")
    .Does(() =>
{
    CleanDirectory(packageLists);
    Run("dotnet", $"restore {solution} --force-evaluate -p:RestoreLockedMode=false", new() { ["CI"] = "true" });
    CheckPackageLists();
});

Task("Lint")
    .Description("Formatting of the C# code. Its analyzers run in every build.")
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

Task("Bench")
    .Description("Runs the BenchmarkDotNet benchmarks; --filter=NAME chooses among them. bench/README.md shows how to run the others.")
    .IsDependentOn("Restore")
    .Does(() => DotNetRun("./bench/StellaInterop.Bench", new ProcessArgumentBuilder().Append("micro").Append("--filter").AppendQuoted(Argument("filter", "*")),
        new DotNetRunSettings { Configuration = "Release", NoRestore = true }));

Task("Docs")
    .Description("Writes the parts of documents that are made from the code: error codes and the ABI. The tests compare them.")
    .IsDependentOn("Build")
    .Does(() => Run(
        "dotnet",
        $"test tests/StellaInterop.DocsTests -c {configuration} --no-build --filter FullyQualifiedName~GeneratedDocumentTests",
        new() { ["STELLA_WRITE_DOCS"] = "1" }));

Task("ApiReference")
    .Description("Makes the documentation with the API reference in artifacts/docs, and fails for a link that leads nowhere.")
    .IsDependentOn("Restore")
    .Does(() => Run("dotnet", $"docfx .cake/docfx.json --output {artifacts.Combine("docs")} --warningsAsErrors --logLevel warning"));

Task("PgVector")
    .Description("Tests folder search over PostgreSQL with pgvector, on a server that is made for it (Linux, as root, with debootstrap).")
    .IsDependentOn("Build")
    .Does(() => Run(
        "samples/FolderSearch/pgvector.sh",
        $"{artifacts.Combine("pgvector")} dotnet test tests/StellaInterop.Samples.Tests -c {configuration} --no-build --filter FullyQualifiedName~PostgreSQL"));

Task("Soak")
    .Description("Holds a pool to its promises under load, --seconds long, and plants the defects that this must find.")
    .IsDependentOn("Build")
    .Does(() =>
{
    foreach (var arguments in new[] { $"run --seconds {Argument("seconds", 60)}", "control --seconds 20" })
    {
        DotNetRun("./bench/StellaInterop.Soak", arguments, new DotNetRunSettings { Configuration = configuration, NoBuild = true });
    }
});

Task("Pack")
    .Description("Makes the NuGet packages in artifacts/packages. --rids=A,B names the platforms that have to be in them; this machine's if it is not given.")
    .IsDependentOn("Restore")
    .Does(() =>
{
    PackInto(packages, root);
    CheckPackages(Argument("rids", host).Split(',', StringSplitOptions.RemoveEmptyEntries));
});

Task("ApiBaseline")
    .Description("Writes the packages in .api, with nothing but the public API of this build, which later packages are validated against. Only for a release that may break the API.")
    .IsDependentOn("Restore")
    .Does(() =>
{
    foreach (var project in projects.Where(HasPublicApi))
    {
        DotNetBuild($"./src/{project}", new DotNetBuildSettings
        {
            Configuration = configuration,
            NoRestore = true,
            // The same API gives the same bytes, in whatever commit it is and whatever the internals are.
            MSBuildSettings = new DotNetMSBuildSettings()
                .WithProperty("ApiBaseline", "true")
                .WithProperty("IncludeSourceRevisionInInformationalVersion", "false")
                .WithProperty("RunAnalyzers", "false"),
        });
        WriteApiBaseline(project);
    }
});

Task("PackAgain")
    .Description("Packs a copy of the tree in another folder and fails when a package has other bytes than those of Pack.")
    .IsDependentOn("Pack")
    .Does(() =>
{
    var copy = artifacts.Combine("again/tree");
    var second = artifacts.Combine("again/packages");
    CopyTree(copy);
    DotNetRestore(copy.CombineWithFilePath("StellaInterop.sln").FullPath);
    PackInto(second, copy);
    ComparePackages(packages, second);
    CleanDirectory(artifacts.Combine("again"));
});

Task("Smoke")
    .Description("Makes programs from the packages of Pack and runs them: layouts, trimmed and compiled ahead of time. Needs a C compiler. --no-pack tests packages that are there.")
    .IsDependentOn(HasArgument("no-pack") ? "Restore" : "Pack")
    .Does(() =>
{
    TestPackages("StellaInterop.PackageTests");
    TestPackages("StellaInterop.AotTests");
});

Task("AotTest")
    .Description("The part of Smoke that needs a C compiler, which the tests of the solution do without.")
    .IsDependentOn("Pack")
    .Does(() => TestPackages("StellaInterop.AotTests"));

Task("Sbom")
    .Description("Writes bills of materials beside the packages: NuGet packages and crates, each with its licence, which has to be on the list of those allowed.")
    .IsDependentOn("Pack")
    .Does(() =>
{
    var components = projects.SelectMany(WriteNuGetSbom).Concat(WriteCrateSbom()).ToArray();
    CheckLicences(components);
    Information("{0} components, each under a licence of the list.", components.DistinctBy(c => c.Name).Count());
});

Task("CI")
    .Description("Everything that has to hold before a change lands, but for the C# tests, which CI runs by the README's own command.")
    .IsDependentOn("NativeLint")
    .IsDependentOn("CheckPrebuilt")
    .IsDependentOn("Bindings")
    .IsDependentOn("Notices")
    .IsDependentOn("Sanitize")
    .IsDependentOn("Fuzz")
    .IsDependentOn("ShippedTest")
    .IsDependentOn("Valgrind")
    .IsDependentOn("Lint")
    .IsDependentOn("Soak")
    .IsDependentOn("PackAgain")
    .IsDependentOn("Sbom")
    .IsDependentOn("AotTest")
    .IsDependentOn("ApiReference")
    .IsDependentOn("PgVector");

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

/// .NET names the C library in its own identifier; that of Alpine's own build is the system's name.
bool IsMusl() => Regex.IsMatch(RuntimeInformation.RuntimeIdentifier, "musl|^alpine");

/// Runs a program in the root of the tree and fails with it.
void Run(string tool, string arguments, Dictionary<string, string> environment = null)
{
    Information("{0} {1}", tool, arguments);
    var exitCode = StartProcess(tool, new ProcessSettings { WorkingDirectory = root, Arguments = arguments, EnvironmentVariables = environment ?? new() });
    if (exitCode != 0)
    {
        throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
    }
}

/// Runs cargo in native/ and fails with it. Subcommands such as clippy start a second cargo, which does not get
/// --config, so the extra configuration is written where every cargo in native/ looks.
void Cargo(string arguments, Dictionary<string, string> environment = null)
{
    var settings = new ProcessSettings { WorkingDirectory = native, Arguments = arguments, EnvironmentVariables = environment ?? new() };
    UseExtraCargoConfig();
    Information("cargo {0}", arguments);
    var exitCode = StartProcess("cargo", settings);
    if (exitCode != 0)
    {
        throw new CakeException($"cargo {arguments} ended with exit code {exitCode}.");
    }
}

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

/// Fails with the command that installs a tool, unless the tool is there.
void Require(string tool, string arguments, string install)
{
    if (!host.StartsWith("linux"))
    {
        throw new CakeException("Sanitized builds, fuzzing and Valgrind run on Linux.");
    }

    try
    {
        OutputIn(native, tool, arguments);
    }
    catch (Exception e) when (e is not OutOfMemoryException)
    {
        throw new CakeException($"{tool} {arguments} did not run. Install it by: {install}", e);
    }
}

/// What is built for the shipped library, and for tests of it. The same words each time: cargo takes other words for
/// another build.
string ReleaseSelection() => $"--release --locked --package stella-ffi --target {rids[host].RustTarget}";

/// What is built and tested with the sanitizer.
string SanitizedSelection() => $"--locked --workspace --all-features --lib --tests --target {rids[host].RustTarget} --target-dir target/sanitized";

/// AddressSanitizer, and the instrumentation by which libFuzzer sees what an input reaches.
Dictionary<string, string> SanitizerFlags() => RustFlags(
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=16",
    "--cfg fuzzing");

Dictionary<string, string> RustFlags(params string[] flags) => new() { ["RUSTFLAGS"] = string.Join(' ', flags) };

/// Runs tests that were run before, in another way. They are not counted again: their output is shown when they fail.
void RunTestsAgain(string arguments, Dictionary<string, string> environment)
{
    UseExtraCargoConfig();
    Information("cargo {0}", arguments);
    var settings = new ProcessSettings
    {
        WorkingDirectory = native,
        Arguments = arguments,
        EnvironmentVariables = environment,
        RedirectStandardOutput = true,
    };
    var exitCode = StartProcess("cargo", settings, out IEnumerable<string> output);
    var lines = output.ToArray();
    var passed = lines.Select(l => Regex.Match(l, @"(\d+) passed;")).Where(m => m.Success).Sum(m => int.Parse(m.Groups[1].Value));
    if (exitCode != 0 || passed == 0)
    {
        lines.ToList().ForEach(Console.WriteLine);
        throw new CakeException($"cargo {arguments} ended with exit code {exitCode} after {passed} tests.");
    }

    Information("{0} tests, no fault.", passed);
}

/// Runs one fuzz target and says what it did. Inputs that reach something new are kept beside its seeds, out of the
/// tree, and are where the next run begins.
bool Fuzz(FuzzTarget t, int seconds)
{
    var folder = artifacts.Combine("fuzz").Combine(t.Name);
    var corpus = folder.Combine("corpus");
    var scratch = folder.Combine("tmp");
    EnsureDirectoryExists(corpus);
    CleanDirectory(scratch);
    var start = new ProcessStartInfo(native.CombineWithFilePath($"target/sanitized/{rids[host].RustTarget}/debug/{t.Name}").FullPath)
    {
        WorkingDirectory = native.Combine("fuzz").FullPath,
        RedirectStandardError = true,
        RedirectStandardOutput = true,
    };
    // Models that a target breaks lie where writing costs nothing, if there is such a place.
    var shared = new System.IO.DirectoryInfo($"/dev/shm/stella-fuzz-{Environment.ProcessId}-{t.Name}");
    if (shared.Parent.Exists)
    {
        shared.Create();
    }

    start.Environment["TMPDIR"] = shared.Exists ? shared.FullName : scratch.FullPath;
    foreach (var argument in new[]
    {
        corpus.FullPath, $"corpus/{t.Name}", "-dict=json.dict", $"-artifact_prefix={folder}/", $"-max_total_time={seconds}",
        $"-max_len={t.MaxLength}", $"-timeout={t.Seconds}", $"-rss_limit_mb={t.Megabytes}", $"-malloc_limit_mb={t.Megabytes / 2}", "-print_final_stats=1",
    })
    {
        start.ArgumentList.Add(argument);
    }

    try
    {
        using var process = Process.Start(start);
        var errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        var lines = errors.Result.Split('\n');
        System.IO.File.WriteAllLines(folder.CombineWithFilePath("log").FullPath, lines);
        var stats = lines.Where(l => l.StartsWith("stat::")).Select(l => Regex.Replace(l["stat::".Length..], " +", " "));
        if (process.ExitCode == 0)
        {
            Information("fuzz {0}: no fault. {1}", t.Name, string.Join(", ", stats));
            return true;
        }

        // The report begins where the reports of the runtime and of libFuzzer do, and names the file of the input.
        var begin = Array.FindIndex(lines, l => l.Contains("panicked at") || l.StartsWith("==") || l.Contains("ERROR: "));
        Error("fuzz {0}: ended with exit code {1}.\n{2}", t.Name, process.ExitCode, string.Join('\n', lines.Skip(Math.Max(begin, 0)).Take(60)));
        Error("fuzz {0}: {1}", t.Name, string.Join(' ', lines.Where(l => l.Contains("Test unit written to"))));
        return false;
    }
    finally
    {
        if (shared.Exists)
        {
            shared.Delete(true);
        }
    }
}

/// Flags that keep the place of the build out of its result. Every folder that a path of a source can begin with
/// is renamed, and the linker writes no build id.
Dictionary<string, string> ReproducibleFlags()
{
    var cargoHome = EnvironmentVariable("CARGO_HOME") ?? System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cargo");
    var sources = System.IO.Path.Combine(cargoHome, "registry", "src");
    var flags = System.IO.Directory.Exists(sources)
        ? System.IO.Directory.GetDirectories(sources).Order().Select(d => $"--remap-path-prefix={d}=/crates").ToList()
        : new List<string>();
    flags.Add($"--remap-path-prefix={native.FullPath}=/stella");
    if (host.StartsWith("linux"))
    {
        flags.Add("-Clink-arg=-Wl,--build-id=none");
    }

    if (HasGlibc)
    {
        flags.AddRange(GlibcFlags());
    }
    else if (host.StartsWith("linux-musl"))
    {
        // A shared library takes the C library of the process that loads it.
        flags.Add("-Ctarget-feature=-crt-static");
    }
    else if (host.StartsWith("win"))
    {
        // Without it, the library asks for a redistributable that not every machine has.
        flags.Add("-Ctarget-feature=+crt-static");
    }

    return RustFlags(flags.ToArray());
}

/// The manifest says from what and by what a library was made.
void WriteManifest(DirectoryPath directory, NativeRid entry)
{
    var file = directory.CombineWithFilePath(entry.LibraryFile);
    var manifest = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["library"] = entry.LibraryFile,
        ["library_sha256"] = Sha256(file),
        ["linker"] = Linker(),
        ["rid"] = entry.Rid,
        ["rust_target"] = entry.RustTarget,
        ["rustc"] = string.Join("; ", Output("rustc", "--version --verbose").Where(l => l.StartsWith("rustc") || l.StartsWith("commit-hash") || l.StartsWith("LLVM"))),
        ["sources_sha256"] = SourcesSha256(),
    };
    System.IO.File.WriteAllText(directory.CombineWithFilePath(ManifestName).FullPath, JsonSerializer.Serialize(manifest, new JsonSerializerOptions { WriteIndented = true }) + "\n");
}

string Linker() =>
    host.StartsWith("linux") ? $"{Output("cc", "--version")[0]}; {Output("ld", "--version")[0]}"
    : host.StartsWith("osx") ? Output("cc", "--version")[0]
    // Rust looks for it where Visual Studio was installed, and does not say which it took.
    : "link.exe";

Dictionary<string, string> ReadManifest(DirectoryPath directory)
{
    var path = directory.CombineWithFilePath(ManifestName).FullPath;
    return System.IO.File.Exists(path)
        ? JsonSerializer.Deserialize<Dictionary<string, string>>(System.IO.File.ReadAllText(path))
        : throw new CakeException($"{path} does not exist. Run: dotnet cake --target=Prebuilt");
}

/// One hash over the names and contents of everything that decides what the library is.
string SourcesSha256()
{
    var files = new[] { "Cargo.toml", "Cargo.lock" }.Select(f => native.CombineWithFilePath(f))
        .Concat(GetFiles($"{native}/stella-*/Cargo.toml"))
        .Concat(GetFiles($"{native}/stella-*/build.rs"))
        .Concat(GetFiles($"{native}/stella-*/src/**/*.rs"))
        .Select(f => (Name: native.GetRelativePath(f).FullPath, Path: f.FullPath))
        .OrderBy(f => f.Name, StringComparer.Ordinal);
    using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    foreach (var (name, path) in files)
    {
        // Line ends are those of the repository, whatever a checkout made of them.
        var text = System.IO.File.ReadAllText(path).ReplaceLineEndings("\n");
        hash.AppendData(System.Text.Encoding.UTF8.GetBytes($"{name}\n{text.Length}\n{text}"));
    }

    return Convert.ToHexStringLower(hash.GetHashAndReset());
}

/// The exports of a library and the imports of the bindings must be the same names.
void CheckExports(FilePath library)
{
    if (!host.StartsWith("linux"))
    {
        Warning("Exports are compared on Linux only.");
        return;
    }

    var exported = Output("nm", $"--dynamic --defined-only --format=just-symbols {library}").Where(s => s.Length > 0).Select(s => s.Split('@')[0]).ToHashSet();
    var imported = Regex.Matches(System.IO.File.ReadAllText(bindings.FullPath), "EntryPoint = \"([^\"]+)\"").Select(m => m.Groups[1].Value).ToHashSet();
    var differing = exported.Except(imported).Select(s => $"{s} is exported but not imported").Concat(imported.Except(exported).Select(s => $"{s} is imported but not exported")).ToArray();
    if (differing.Length > 0)
    {
        throw new CakeException($"{library.GetFilename()} and {bindings.GetFilename()} differ: {string.Join("; ", differing)}.");
    }
}

string[] Output(string tool, string arguments) => OutputIn(root, tool, arguments);

string[] OutputIn(DirectoryPath directory, string tool, string arguments)
{
    var settings = new ProcessSettings { Arguments = arguments, WorkingDirectory = directory, RedirectStandardOutput = true };
    var exitCode = StartProcess(tool, settings, out IEnumerable<string> lines);
    return exitCode == 0 ? lines.ToArray() : throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
}

string Sha256(FilePath file) => Convert.ToHexStringLower(SHA256.HashData(System.IO.File.ReadAllBytes(file.FullPath)));
