// Builds the native library for a platform, describes it in a manifest, and checks it.

const string ManifestName = "manifest.json";
const long MaxLibraryBytes = 10_000_000;

// The platforms whose libraries are committed, so that a fresh clone runs there without Rust.
var prebuiltRids = new[] { "linux-x64", "linux-arm64", "win-x64" };

/// A build of the native library. Without a toolchain, the tools of this machine build it.
record NativeBuild(NativeRid Entry, string RustTarget, string Compiler, string Binutils, Toolchain Toolchain)
{
    public string Rid => Entry.Rid;
    public bool HasGlibc => Rid.StartsWith("linux-") && !HasMusl;
    public bool HasMusl => Rid.StartsWith("linux-musl-");
    public bool IsWindows => Rid.StartsWith("win-");
    public bool IsMinGW => RustTarget.EndsWith("-windows-gnu");
}

DirectoryPath BuiltFolder(string rid) => artifacts.Combine("native").Combine(rid);

DirectoryPath PrebuiltFolder(string rid) => native.Combine("prebuilt").Combine(rid);

FilePath LibraryIn(DirectoryPath folder, string rid) => folder.CombineWithFilePath(EntryOf(rid).LibraryFile);

NativeRid EntryOf(string rid) => rids.TryGetValue(rid, out var entry)
    ? entry
    : throw new CakeException($"Unknown runtime identifier '{rid}'. native/Rids.props has {string.Join(", ", rids.Keys)}.");

string[] RidArgument(params string[] otherwise) =>
    Argument("rids", Argument("rid", string.Join(',', otherwise))).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

/// The library of this machine is built with the Rust on the PATH. The others, and that one without Rust, need a toolchain of Debian.
NativeBuild BuildOf(string rid)
{
    var entry = EntryOf(rid);
    if (rid == machine && IsOnPath("cargo"))
    {
        return new(entry, entry.RustTarget, "cc", "", null);
    }

    if (machine != "linux-x64")
    {
        throw new CakeException(rid == machine
            ? $"cargo is not on the PATH, so the library for {rid} cannot be built. Install Rust 1.95 or newer."
            : $"Only a linux-x64 machine builds for other platforms, but this machine is {machine}. Build the library for {rid} on linux-x64 or on {rid}.");
    }

    var toolchain = ToolchainOf(rid);
    return new(entry, toolchain.RustTarget, toolchain.Compiler, toolchain.Binutils, toolchain);
}

void BuildNative(string rid)
{
    var build = BuildOf(rid);
    if (build.Toolchain is not null)
    {
        InstallToolchains([build.Toolchain]);
    }

    var clock = Stopwatch.StartNew();
    Cargo(build, "fetch --locked");
    var environment = ReproducibleFlags(build);
    if (build.IsMinGW)
    {
        // The linker of MinGW cannot drop single functions, so the compiler does it. Cargo allows that for a library without a Rust form.
        environment["CARGO_PROFILE_RELEASE_LTO"] = "fat";
        Cargo(build, $"rustc {ReleaseSelection(build)} --lib --crate-type cdylib", environment);
    }
    else
    {
        Cargo(build, $"build {ReleaseSelection(build)}", environment);
    }

    var folder = BuiltFolder(rid);
    var library = LibraryIn(folder, rid);
    EnsureDirectoryExists(folder);
    CopyFile(native.CombineWithFilePath($"{TargetFolder(build)}/{build.RustTarget}/release/{build.Entry.LibraryFile}"), library);
    WriteManifest(build, folder);
    CheckExports(build, library);
    CheckSystemLibraries(build, library);
    if (FileSize(library) > MaxLibraryBytes)
    {
        throw new CakeException($"{library.GetFilename()} for {rid} has {FileSize(library):N0} bytes. The limit is {MaxLibraryBytes:N0}.");
    }

    Information("{0}: {1} of {2:N0} bytes, sha256 {3}, in {4:N0} s", rid, build.Entry.LibraryFile, FileSize(library), Sha256(library), clock.Elapsed.TotalSeconds);
}

/// Checks the hash of a committed library, and that it was built from these sources.
void CheckCommitted(string rid)
{
    var committed = ReadManifest(PrebuiltFolder(rid));
    if (Sha256(LibraryIn(PrebuiltFolder(rid), rid)) != committed["library_sha256"])
    {
        throw new CakeException($"{LibraryIn(PrebuiltFolder(rid), rid)} does not have the SHA-256 of its manifest. Run: dotnet cake --target=Prebuilt --rids={rid}");
    }

    if (committed["sources_sha256"] != SourcesSha256())
    {
        throw new CakeException($"The native sources have changed since native/prebuilt/{rid} was built. Run: dotnet cake --target=Prebuilt");
    }
}

/// Builds a committed library again, if this machine has the compilers, and compares the bytes.
void ComparePrebuilt(string rid)
{
    var build = BuildOf(rid);
    if (build.Toolchain is not null && !HasToolchain(build.Toolchain))
    {
        Warning("NOT COMPARED: {0}. Its compilers are not installed. To compare it, run: dotnet cake --target=Toolchains --rids={0}", rid);
        return;
    }

    BuildNative(rid);
    var committed = ReadManifest(PrebuiltFolder(rid));
    var fresh = ReadManifest(BuiltFolder(rid));
    var differing = toolKeys.Where(key => committed.GetValueOrDefault(key) != fresh.GetValueOrDefault(key)).ToArray();
    if (differing.Length > 0)
    {
        Warning("NOT COMPARED: {0}. It was built with other tools, so its bytes may differ. The tests run on the new build.", rid);
        foreach (var key in differing)
        {
            Warning("    {0} is {1} here, but {2} in the manifest.", key, fresh.GetValueOrDefault(key, "none"), committed.GetValueOrDefault(key, "none"));
        }

        return;
    }

    if (committed["library_sha256"] != fresh["library_sha256"])
    {
        throw new CakeException(
            $"{LibraryIn(PrebuiltFolder(rid), rid)} does not match the sources: the committed SHA-256 is {committed["library_sha256"]}, but the same tools built {fresh["library_sha256"]}. Run: dotnet cake --target=Prebuilt --rids={rid}");
    }

    Information("EQUAL: native/prebuilt/{0} has the same bytes as a build of the sources ({1}).", rid, fresh["library_sha256"]);
}

/// Provides the library of a platform for packages: the last build or the committed library if it belongs to the sources, or else a new
/// build.
void ProvideNative(string rid)
{
    if (IsOfTheseSources(BuiltFolder(rid), rid))
    {
        return;
    }

    // MSBuild prefers a build to the committed library.
    if (DirectoryExists(BuiltFolder(rid)))
    {
        DeleteDirectory(BuiltFolder(rid), new DeleteDirectorySettings { Recursive = true });
    }

    if (!IsOfTheseSources(PrebuiltFolder(rid), rid))
    {
        BuildNative(rid);
    }
}

bool IsOfTheseSources(DirectoryPath folder, string rid) =>
    FileExists(folder.CombineWithFilePath(ManifestName)) && FileExists(LibraryIn(folder, rid)) && ReadManifest(folder)["sources_sha256"] == SourcesSha256();

/// Runs cargo in native/ with the tools of a build, and fails if cargo fails.
void Cargo(NativeBuild build, string arguments, Dictionary<string, string> environment = null)
{
    Information("cargo {0}", arguments);
    var (tool, settings) = CargoProcess(build, arguments, environment ?? new());
    var exitCode = StartProcess(tool, settings);
    if (exitCode != 0)
    {
        throw new CakeException($"cargo {arguments} ended with exit code {exitCode}.");
    }
}

/// Returns the program and its settings for a run of cargo with the tools of a build, or with those on the PATH.
(FilePath Tool, ProcessSettings Settings) CargoProcess(NativeBuild build, string arguments, Dictionary<string, string> environment)
{
    UseExtraCargoConfig();
    if (build?.Toolchain is null)
    {
        return ("cargo", new() { WorkingDirectory = native, Arguments = arguments, EnvironmentVariables = environment });
    }

    return (inDebian, DebianProcess("cargo", arguments, new(environment)
    {
        [CargoVariable(build, "LINKER")] = build.Compiler,
        [$"CC_{build.RustTarget.Replace('-', '_')}"] = build.Compiler,
        [$"AR_{build.RustTarget.Replace('-', '_')}"] = $"{build.Binutils}ar",
    }, native));
}

/// Returns the name of the environment variable that sets an option of cargo for a target.
string CargoVariable(NativeBuild build, string option) => $"CARGO_TARGET_{build.RustTarget.Replace('-', '_').ToUpperInvariant()}_{option}";

string[] OutputOf(NativeBuild build, string tool, string arguments) =>
    build.Toolchain is null ? Output(tool, arguments) : OutputInDebian(tool, arguments);

// Compilers of different versions use different folders, or each would build everything again.
string TargetFolder(NativeBuild build) => build.Toolchain is null ? "target" : "target/debian";

/// Returns the cargo arguments of the release build and its tests. They must be equal each time, because cargo builds again for
/// other arguments.
string ReleaseSelection(NativeBuild build, string package = "stella-ffi") =>
    $"--release --locked --package {package} --target {build.RustTarget}" + (build.Toolchain is null ? "" : $" --target-dir {TargetFolder(build)}");

/// Returns the flags that make the build independent of its location. They remap the prefix of every source path, and the linker
/// writes no build id.
Dictionary<string, string> ReproducibleFlags(NativeBuild build)
{
    var cargoHome = build.Toolchain is not null ? toolchainRoot.Combine("cargo").FullPath
        : EnvironmentVariable("CARGO_HOME") ?? System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cargo");
    var sources = System.IO.Path.Combine(cargoHome, "registry", "src");
    var flags = System.IO.Directory.Exists(sources)
        ? System.IO.Directory.GetDirectories(sources).Order().Select(d => $"--remap-path-prefix={d}=/crates").ToList()
        : new List<string>();
    flags.Add($"--remap-path-prefix={native.FullPath}=/stella");
    if (build.HasGlibc || build.HasMusl)
    {
        flags.Add("-Clink-arg=-Wl,--build-id=none");
    }

    if (build.HasGlibc)
    {
        flags.AddRange(GlibcFlags(build));
    }
    else if (build.HasMusl)
    {
        // A shared library must use the C library of the process that loads it.
        flags.Add("-Ctarget-feature=-crt-static");
    }
    else if (build.IsWindows)
    {
        // Links the C runtime statically, because not every machine has its redistributable package.
        flags.Add("-Ctarget-feature=+crt-static");
        if (build.IsMinGW)
        {
            // The linker of MinGW writes the time into the header otherwise.
            flags.Add("-Clink-arg=-Wl,--no-insert-timestamp");
        }
    }

    return RustFlags(flags.ToArray());
}

// The keys of a manifest that name tools. Other tools may build other bytes.
var toolKeys = new[] { "rustc", "linker", "packages" };

/// Writes the manifest of a library: the hashes of its sources and its bytes, and the tools that built it.
void WriteManifest(NativeBuild build, DirectoryPath folder)
{
    var manifest = new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        ["library"] = build.Entry.LibraryFile,
        ["library_sha256"] = Sha256(LibraryIn(folder, build.Rid)),
        ["linker"] = Linker(build),
        ["rid"] = build.Rid,
        ["rust_target"] = build.RustTarget,
        ["rustc"] = string.Join("; ", OutputOf(build, "rustc", "--version --verbose").Where(l => l.StartsWith("rustc") || l.StartsWith("commit-hash") || l.StartsWith("LLVM"))),
        ["sources_sha256"] = SourcesSha256(),
    };
    if (build.Toolchain is not null)
    {
        manifest["packages"] = $"Debian {DebianSuite}: {string.Join(", ", PackageVersions(build.Toolchain).Select(v => $"{v.Package.Name} {v.Version}"))}";
    }

    System.IO.File.WriteAllText(folder.CombineWithFilePath(ManifestName).FullPath, JsonSerializer.Serialize(manifest, new JsonSerializerOptions { WriteIndented = true }) + "\n");
}

string Linker(NativeBuild build) =>
    build.Toolchain is not null || build.HasGlibc || build.HasMusl
        ? $"{OutputOf(build, build.Compiler, "--version")[0]}; {OutputOf(build, $"{build.Binutils}ld", "--version")[0]}"
    : build.Rid.StartsWith("osx-") ? Output("cc", "--version")[0]
    // Rust finds the linker of Visual Studio itself and does not report which one.
    : "link.exe";

Dictionary<string, string> ReadManifest(DirectoryPath folder)
{
    var path = folder.CombineWithFilePath(ManifestName).FullPath;
    return System.IO.File.Exists(path)
        ? JsonSerializer.Deserialize<Dictionary<string, string>>(System.IO.File.ReadAllText(path))
        : throw new CakeException($"{path} does not exist. Run: dotnet cake --target=Prebuilt");
}

/// Returns one hash over the names and contents of all files that determine the library.
string SourcesSha256()
{
    var files = new[] { "Cargo.toml", "Cargo.lock" }.Select(f => native.CombineWithFilePath(f))
        .Concat(GetFiles($"{native}/stella-*/Cargo.toml"))
        .Concat(GetFiles($"{native}/stella-*/build.rs"))
        .Concat(GetFiles($"{native}/stella-*/src/**/*.rs"));
    return SourceHash.Of(root.FullPath, "native/", files.Select(f => root.GetRelativePath(f).FullPath));
}

/// Checks that a library exports the same names that the bindings import.
void CheckExports(NativeBuild build, FilePath library)
{
    if (build.Toolchain is null && !build.HasGlibc && !build.HasMusl)
    {
        Warning("Exports are compared on Linux only.");
        return;
    }

    var exported = (build.IsWindows
        ? OutputOf(build, $"{build.Binutils}objdump", $"-p {library}")
            .SkipWhile(line => !line.StartsWith("[Ordinal/Name Pointer] Table"))
            .Select(line => Regex.Match(line, @"^\s*\[\s*\d+\]\s.*?(\S+)$").Groups[1].Value)
        : OutputOf(build, $"{build.Binutils}nm", $"--dynamic --defined-only --format=just-symbols {library}").Select(s => s.Split('@')[0]))
        .Where(name => name.Length > 0)
        .ToHashSet();
    var imported = Regex.Matches(System.IO.File.ReadAllText(bindings.FullPath), "EntryPoint = \"([^\"]+)\"").Select(m => m.Groups[1].Value).ToHashSet();
    var differing = exported.Except(imported).Select(s => $"{s} is exported but not imported").Concat(imported.Except(exported).Select(s => $"{s} is imported but not exported")).ToArray();
    if (differing.Length > 0)
    {
        throw new CakeException($"{library.GetFilename()} and {bindings.GetFilename()} differ: {string.Join("; ", differing)}.");
    }
}

/// The libraries that every system of a platform has.
string[] SystemLibraries(NativeBuild build) =>
    build.HasMusl ? ["libc.so"]
    : build.HasGlibc ? ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"]
    : ["KERNEL32.dll", "msvcrt.dll", "ntdll.dll", "bcryptprimitives.dll", "api-ms-win-core-synch-l1-2-0.dll", "ADVAPI32.dll", "WS2_32.dll", "USERENV.dll"];

/// Checks that a library needs only libraries that every system of its platform has, and no newer glibc than the minimum.
void CheckSystemLibraries(NativeBuild build, FilePath library)
{
    if (build.Toolchain is null && !build.HasGlibc && !build.HasMusl)
    {
        Warning("Needed libraries are checked on Linux only.");
        return;
    }

    var needed = OutputOf(build, $"{build.Binutils}objdump", $"-p {library}")
        .Select(line => Regex.Match(line, @"^\s*(?:NEEDED|DLL Name:)\s+(\S+)$").Groups[1].Value)
        .Where(name => name.Length > 0)
        .ToArray();
    var other = needed.Except(SystemLibraries(build), build.IsWindows ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal).ToArray();
    if (other.Length > 0 || needed.Length == 0)
    {
        throw new CakeException($"{library.GetFilename()} for {build.Rid} needs {string.Join(", ", other.DefaultIfEmpty("no library at all"))}. Every system of the platform has only {string.Join(", ", SystemLibraries(build))}.");
    }

    if (build.HasGlibc && GlibcOf(build, library) > System.Version.Parse(MinGlibc))
    {
        throw new CakeException($"{library.GetFilename()} for {build.Rid} needs glibc {GlibcOf(build, library)}, but must run on glibc {MinGlibc}.");
    }
}
