// Toolchains from Debian packages, for platforms other than that of this machine.
//
// They are installed in a Debian folder of their own, artifacts/toolchains/debian, which debootstrap makes. So the machine keeps its own
// compilers, and each machine gets the same ones.

/// A Debian package, its version when the committed libraries were built, and the folder that it is unpacked to. Packages of another
/// architecture are unpacked, because installing them would also install the libraries of that architecture.
record DebianPackage(string Name, string Version, string UnpackTo = null);

/// The tools for one platform. Debian has no standard library of Rust for some targets, so that it is compiled from source, with the
/// environment StandardLibrary.
record Toolchain(string Rid, string RustTarget, string Compiler, string Binutils, Dictionary<string, string> StandardLibrary, DebianPackage[] Packages);

// trixie is a released suite. Its security updates bring new versions of rustc-web, the compiler for web browsers, so that the table's
// version may no longer be served. `Toolchains` reports that, and the manifest of a library names the versions that built it.
const string DebianSuite = "trixie";
const string DebianMirror = "http://deb.debian.org/debian";
const string DebianSecurityMirror = "http://deb.debian.org/debian-security";

var debianRust = new DebianPackage[]
{
    new("rustc-web", "1.96.0+dfsg1-1~deb13u1+b1"),
    new("cargo-web", "1.96.0+dfsg1-1~deb13u1+b1"),
    new("libc6-dev", "2.41-12+deb13u5"),
    new("gcc", "4:14.2.0-1"),
    new("gcc-14", "14.2.0-19"),
    new("binutils", "2.44-3"),
    // Cargo downloads crates by HTTPS.
    new("ca-certificates", "20250419+deb13u1"),
};
var debianRustSources = new DebianPackage("rust-web-src", "1.96.0+dfsg1-1~deb13u1");
var debianArm64Compiler = new DebianPackage[]
{
    new("gcc-aarch64-linux-gnu", "4:14.2.0-1"),
    new("gcc-14-aarch64-linux-gnu", "14.2.0-19cross1"),
    new("binutils-aarch64-linux-gnu", "2.44-3"),
    new("libc6-dev-arm64-cross", "2.41-11cross1"),
};

var toolchains = new Toolchain[]
{
    new("linux-x64", "x86_64-unknown-linux-gnu", "gcc", "", null, debianRust),
    new("linux-arm64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-", null,
    [
        .. debianRust, .. debianArm64Compiler,
        new("libstd-rust-web-dev:arm64", "1.96.0+dfsg1-1~deb13u1+b1", "/"),
    ]),
    new("linux-musl-x64", "x86_64-unknown-linux-musl", "x86_64-linux-musl-gcc", "", new() { ["RUSTFLAGS"] = "-Ctarget-feature=-crt-static" },
    [
        .. debianRust, debianRustSources,
        new("musl-tools", "1.2.5-3.1~deb13u1"),
        new("musl-dev", "1.2.5-3.1~deb13u1"),
        new("libunwind-19-dev", "1:19.1.7-3+b1", "/opt/stella/x86_64-unknown-linux-musl"),
    ]),
    new("linux-musl-arm64", "aarch64-unknown-linux-musl", "aarch64-linux-musl-gcc", "aarch64-linux-gnu-", new() { ["RUSTFLAGS"] = "-Ctarget-feature=-crt-static" },
    [
        .. debianRust, debianRustSources, .. debianArm64Compiler,
        new("musl:arm64", "1.2.5-3.1~deb13u1", "/"),
        new("musl-dev:arm64", "1.2.5-3.1~deb13u1", "/"),
        new("libunwind-19-dev:arm64", "1:19.1.7-3+b1", "/opt/stella/aarch64-unknown-linux-musl"),
    ]),
    new("win-x64", "x86_64-pc-windows-gnu", "x86_64-w64-mingw32-gcc", "x86_64-w64-mingw32-", new() { ["RUSTFLAGS"] = "-Cembed-bitcode=yes" },
    [
        .. debianRust, debianRustSources,
        new("gcc-mingw-w64-x86-64-win32", "14.2.0-19+27+b1"),
        new("mingw-w64-x86-64-dev", "12.0.0-5"),
        new("binutils-mingw-w64-x86-64", "2.44-3+12+b1"),
    ]),
};

var toolchainRoot = artifacts.Combine("toolchains");
var debian = toolchainRoot.Combine("debian");
var canInstallDebian = machine == "linux-x64" && Environment.UserName == "root" && FileExists("/etc/debian_version");
var inDebian = root.CombineWithFilePath(".cake/in-debian.sh");

Toolchain ToolchainOf(string rid) => toolchains.FirstOrDefault(t => t.Rid == rid)
    ?? throw new CakeException($"{rid} is built on a machine of its own only. A linux-x64 machine builds {string.Join(", ", toolchains.Select(t => t.Rid))}.");

// The marker of an installed toolchain has the names of its packages, so that a changed row is installed again.
FilePath ToolchainMarker(Toolchain toolchain) => debian.CombineWithFilePath($"var/lib/stella/{toolchain.Rid}");

string ToolchainContents(Toolchain toolchain) => string.Concat(toolchain.Packages.Select(p => $"{p.Name} {p.UnpackTo}\n"))
    + string.Concat((toolchain.StandardLibrary ?? new()).Select(v => $"{v.Key}={v.Value}\n"))
    + System.IO.File.ReadAllText(root.CombineWithFilePath(".cake/rust-std.sh").FullPath);

bool HasToolchain(Toolchain toolchain) =>
    FileExists(ToolchainMarker(toolchain)) && System.IO.File.ReadAllText(ToolchainMarker(toolchain).FullPath) == ToolchainContents(toolchain);

/// Installs the toolchains that are missing, and prints the time and the size.
void InstallToolchains(IEnumerable<Toolchain> wanted)
{
    var missing = wanted.Where(t => !HasToolchain(t)).ToArray();
    if (missing.Length == 0)
    {
        return;
    }

    var clock = Stopwatch.StartNew();
    InstallDebian();
    Information("{0}: {1:N0} s, {2:N0} MB", DebianSuite, clock.Elapsed.TotalSeconds, FolderMegabytes(debian));
    foreach (var toolchain in missing)
    {
        clock.Restart();
        InstallToolchain(toolchain);
        Information("{0}: {1:N0} s, now {2:N0} MB in all", toolchain.Rid, clock.Elapsed.TotalSeconds, FolderMegabytes(debian));
    }
}

/// Makes the Debian folder, if it is missing, and reads the present list of its packages.
void InstallDebian()
{
    if (!canInstallDebian)
    {
        throw new CakeException("Compilers and emulators for other platforms are installed by root on a Debian machine (linux-x64) only. Run there: dotnet cake --target=Toolchains");
    }

    var installed = debian.CombineWithFilePath("var/lib/stella/suite");
    if (!FileExists(installed) || System.IO.File.ReadAllText(installed.FullPath) != DebianSuite)
    {
        CreateDebian();
        EnsureDirectoryExists(installed.GetDirectory());
        System.IO.File.WriteAllText(installed.FullPath, DebianSuite);
    }

    InDebian("apt-get", "update -qq");
}

void CreateDebian()
{
    if (!IsOnPath("debootstrap"))
    {
        Run("apt-get", "update -qq");
        Run("apt-get", "install -y -qq debootstrap");
    }

    // An incomplete installation is useless.
    Run("rm", $"-rf {debian}");
    EnsureDirectoryExists(toolchainRoot);
    Run("debootstrap", $"--variant=minbase {DebianSuite} {debian} {DebianMirror}");
    System.IO.File.WriteAllText(
        debian.CombineWithFilePath("etc/apt/sources.list").FullPath,
        $"deb {DebianMirror} {DebianSuite} main\ndeb {DebianMirror} {DebianSuite}-updates main\ndeb {DebianSecurityMirror} {DebianSuite}-security main\n");
    InDebian("dpkg", "--add-architecture arm64");
}

void InstallToolchain(Toolchain toolchain)
{
    InDebian("apt-get", $"install -y -qq --no-install-recommends {string.Join(' ', toolchain.Packages.Where(p => p.UnpackTo is null).Select(p => p.Name))}");
    foreach (var package in toolchain.Packages.Where(p => p.UnpackTo is not null))
    {
        InDebian("sh", $"-euc \"rm -rf /var/tmp/unpack && mkdir -p /var/tmp/unpack {package.UnpackTo} && cd /var/tmp/unpack && apt-get download -qq {package.Name} && dpkg-deb -x *.deb {package.UnpackTo}\"");
    }

    foreach (var (package, version) in PackageVersions(toolchain).Where(v => v.Package.Version != v.Version))
    {
        Warning("MOVED ON: {0} is {1} now. The table in .cake/toolchains.cake names {2}.", package.Name, version, package.Version);
    }

    if (toolchain.StandardLibrary is { } environment)
    {
        InDebian(root.CombineWithFilePath(".cake/rust-std.sh").FullPath, toolchain.RustTarget, environment);
        // Cargo does not notice that the standard library of earlier builds is another one.
        Run("rm", $"-rf {native}/target/debian/{toolchain.RustTarget}");
    }

    System.IO.File.WriteAllText(ToolchainMarker(toolchain).FullPath, ToolchainContents(toolchain));
}

/// Returns the versions of the packages in the Debian folder. An unpacked package is unknown to dpkg, so its version is that of the suite.
IEnumerable<(DebianPackage Package, string Version)> PackageVersions(Toolchain toolchain)
{
    var names = string.Join(' ', toolchain.Packages.Select(p => p.Name));
    var policy = OutputInDebian("apt-cache", $"policy {names}");
    return toolchain.Packages.Select(package =>
    {
        var lines = policy.SkipWhile(line => line != $"{package.Name}:").ToArray();
        var key = package.UnpackTo is null ? "  Installed: " : "  Candidate: ";
        return (package, lines.First(line => line.StartsWith(key))[key.Length..]);
    });
}

/// Runs a command in the Debian folder, where the source tree has the same path as outside. Fails if the command fails.
void InDebian(string tool, string arguments, Dictionary<string, string> environment = null, DirectoryPath folder = null)
{
    Information("{0} {1}", tool, arguments);
    var exitCode = StartProcess(inDebian, DebianProcess(tool, arguments, environment, folder));
    if (exitCode != 0)
    {
        throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
    }
}

string[] OutputInDebian(string tool, string arguments)
{
    var settings = DebianProcess(tool, arguments, null, null);
    settings.RedirectStandardOutput = true;
    var exitCode = StartProcess(inDebian, settings, out IEnumerable<string> lines);
    return exitCode == 0 ? lines.ToArray() : throw new CakeException($"{tool} {arguments} ended with exit code {exitCode}.");
}

ProcessSettings DebianProcess(string tool, string arguments, Dictionary<string, string> environment, DirectoryPath folder)
{
    // The folder has no name server of its own.
    System.IO.File.Copy("/etc/resolv.conf", debian.CombineWithFilePath("etc/resolv.conf").FullPath, overwrite: true);
    return new()
    {
        WorkingDirectory = folder ?? root,
        Arguments = $"{debian} {DebianFolders()} {tool} {arguments}",
        EnvironmentVariables = new Dictionary<string, string>(environment ?? new())
        {
            ["CARGO_HOME"] = toolchainRoot.Combine("cargo").FullPath,
            ["DEBIAN_FRONTEND"] = "noninteractive",
            ["HOME"] = "/root",
            ["LC_ALL"] = "C.UTF-8",
            ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin",
        },
    };
}

/// Returns the folders of this machine that programs in the Debian folder see: the source tree, the temporary folder, in which tests build
/// programs, and a folder of crates beside the source tree.
string DebianFolders() => string.Join(':', ExtraCargoFolder().Prepend(System.IO.Path.GetTempPath().TrimEnd('/')).Prepend(root.FullPath));

long FolderMegabytes(DirectoryPath folder) => long.Parse(Output("du", $"-sm {folder}")[0].Split('\t')[0]);

bool IsOnPath(string tool) => (EnvironmentVariable("PATH") ?? "").Split(System.IO.Path.PathSeparator)
    .Any(folder => System.IO.File.Exists(System.IO.Path.Combine(folder, OperatingSystem.IsWindows() ? $"{tool}.exe" : tool)));
