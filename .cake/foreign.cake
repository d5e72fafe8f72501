// Tests on platforms other than that of this machine, in the Debian folder of toolchains.cake: linux-arm64 emulated by qemu, win-x64 under
// wine, and musl on the hardware of this machine.

/// A command that runs programs of another platform. Under a runner without a command, the programs run as they are.
record Runner(string Rid, string Command, bool RunsDotNet, DebianPackage[] Packages);

var runners = new Runner[]
{
    new("linux-arm64", "qemu-aarch64 -L /usr/aarch64-linux-gnu", true,
    [
        new("qemu-user", "1:10.0.13+ds-0+deb13u1"),
        new("libc6-arm64-cross", "2.41-11cross1"),
        new("libgcc-s1-arm64-cross", "14.2.0-19cross1"),
        new("libstdc++6-arm64-cross", "14.2.0-19cross1"),
    ]),
    // The runtime of .NET for musl needs libstdc++ for musl, which Debian does not have.
    new("linux-musl-x64", "", false, [new("musl", "1.2.5-3.1~deb13u1")]),
    new("win-x64", "wine", true, [new("wine", "10.0~repack-6"), new("wine64", "10.0~repack-6")]),
};

// Only tests that read nothing outside the source tree and need no other program.
var foreignTests = new[] { "golden", "abi" };

Task("Foreign")
    .Description("Runs the Rust tests for linux-arm64, linux-musl-x64 and win-x64 (or --rids=A,B), and a program made from the packages, by qemu, on musl and under wine (root on Debian, linux-x64).")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var wanted = RidArgument(runners.Select(r => r.Rid).ToArray());
    var chosen = wanted.Select(rid => runners.FirstOrDefault(r => r.Rid == rid)
        ?? throw new CakeException($"This machine has no way to run {rid}. It runs {string.Join(", ", runners.Select(r => r.Rid))}.")).ToArray();
    InstallToolchains(chosen.Select(r => ToolchainOf(r.Rid)));
    InDebian("apt-get", $"install -y -qq --no-install-recommends {string.Join(' ', chosen.SelectMany(r => r.Packages).Select(p => p.Name))}");
    foreach (var runner in chosen)
    {
        TestForeign(runner);
    }

    TestForeignPrograms(chosen.Where(r => r.RunsDotNet));
});

/// Runs the Rust tests of a platform.
void TestForeign(Runner runner)
{
    var toolchain = ToolchainOf(runner.Rid);
    var build = new NativeBuild(EntryOf(runner.Rid), toolchain.RustTarget, toolchain.Compiler, toolchain.Binutils, toolchain);
    var environment = ReproducibleFlags(build);
    AddRunnerEnvironment(environment);
    if (runner.Command != "")
    {
        environment[$"CARGO_TARGET_{build.RustTarget.Replace('-', '_').ToUpperInvariant()}_RUNNER"] = runner.Command;
    }

    Cargo(build, $"test {ReleaseSelection(build, "stella-kernels")} --lib --tests", environment);
    Cargo(build, $"test {ReleaseSelection(build)} {string.Join(' ', foreignTests.Select(t => $"--test {t}"))}", environment);
}

/// Packs the libraries of platforms, and runs a program made from the packages on each.
void TestForeignPrograms(IEnumerable<Runner> chosen)
{
    var wanted = chosen.Select(r => r.Rid).Prepend(machine).ToArray();
    foreach (var rid in wanted)
    {
        ProvideNative(rid);
    }

    // The tests build programs in the system's temporary folder.
    var packed = artifacts.Combine("foreign/packages");
    PackInto(packed, root, wanted);
    var inDebian = $"{root}/.cake/in-debian.sh {debian} {root}:{System.IO.Path.GetTempPath().TrimEnd('/')}";
    var environment = new Dictionary<string, string>
    {
        ["STELLA_PACKAGES"] = packed.FullPath,
        ["STELLA_RUNNERS"] = string.Join('\n', chosen.Select(r => $"{r.Rid} {inDebian} {r.Command}")),
    };
    AddRunnerEnvironment(environment);
    Run("dotnet", $"test tests/StellaInterop.PackageTests -c {configuration} --filter FullyQualifiedName~ForeignPlatformTests", environment);
}

/// Wine keeps its settings in a folder, and reports its own gaps on standard error.
void AddRunnerEnvironment(Dictionary<string, string> environment)
{
    environment["WINEPREFIX"] = toolchainRoot.Combine("wine").FullPath;
    environment["WINEDEBUG"] = "-all";
}
