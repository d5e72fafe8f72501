// Runs tests for other platforms in the Debian folder of toolchains.cake: qemu emulates linux-arm64, wine runs programs for win-x64, and
// those for linux-musl-x64 run on the loader of musl.

/// A command that runs programs of another platform, and a command that prepares it. Both run in the Debian folder. Slow has parts of the
/// names of Rust tests that take many minutes there. TestOptions go to all Rust tests.
record Runner(string Rid, string Command, DebianPackage[] Packages, string Preparation = null, string[] Slow = null, string TestOptions = "");

// Wine keeps its settings in a folder, which has a link to the root of the file system. So the folder is outside the source tree, where no
// program walks. Wine reports its own gaps on standard error. Wine 10 loses registers of AVX-512 when the garbage collector stops a thread in
// managed code: sums of managed code were wrong 938 times in 15 seconds, and never without these registers. The native library uses them.
var wine = $"env WINEPREFIX={System.IO.Path.Combine(System.IO.Path.GetTempPath(), "stella-wine")} WINEDEBUG=-all DOTNET_EnableAVX512=0 wine";

const string muslLibraries = "/opt/stella/dotnet-on-musl";

var runners = new Runner[]
{
    // A system call under qemu can fail with EFAULT while another thread of the program maps memory, so tests run one by one.
    new("linux-arm64", "qemu-aarch64 -L /usr/aarch64-linux-gnu",
    [
        new("qemu-user", "1:10.0.13+ds-0+deb13u1"),
        new("libc6-arm64-cross", "2.41-11cross1"),
        new("libgcc-s1-arm64-cross", "14.2.0-19cross1"),
        new("libstdc++6-arm64-cross", "14.2.0-19cross1"),
    ], Slow: ["allocates_nothing", "has_the_same_bits_alone", "a_byte_level_tokenizer", "stella_mini_meets_the_reference"],
        TestOptions: "--test-threads 1"),
    new("linux-musl-x64", $"env LD_LIBRARY_PATH={muslLibraries}", [new("musl", "1.2.5-3.1~deb13u1"), new("libstdc++6", "14.2.0-19")],
        $"{root}/.cake/dotnet-on-musl.sh {muslLibraries}"),
    new("win-x64", wine, [new("wine", "10.0~repack-6"), new("wine64", "10.0~repack-6")]),
};

// The Debian folder has no ICU.
var foreignEnvironment = new Dictionary<string, string> { ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1" };

Task("Foreign")
    .Description("Runs the Rust tests, and a program made from the packages, for linux-arm64 by qemu, for win-x64 under wine and for linux-musl-x64. --rids=A,B chooses (root on Debian, linux-x64).")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var wanted = RidArgument(runners.Select(r => r.Rid).ToArray());
    var chosen = wanted.Select(rid => runners.FirstOrDefault(r => r.Rid == rid)
        ?? throw new CakeException($"This machine has no way to run {rid}. It runs {string.Join(", ", runners.Select(r => r.Rid))}.")).ToArray();
    InstallToolchains(chosen.Select(r => ToolchainOf(r.Rid)));
    InstallRunners(chosen);

    CheckResult[] results = [.. chosen.Select(r => TestForeign(r, BuildOf(r.Rid))), TestForeignPrograms(chosen)];
    foreach (var result in results)
    {
        Information("{0}: {1} in {2} s", result.Name, result.Count, result.Seconds);
    }

    // A run for some platforms is not recorded.
    if (chosen.Length == runners.Length)
    {
        var levels = chosen.SelectMany(r => Levels(BuildOf(r.Rid), TargetFolder(BuildOf(r.Rid)), "release", r.Command)).Distinct();
        Keep("Foreign", BuildOf(chosen[0].Rid), levels.ToArray(), results);
    }
});

void InstallRunners(params Runner[] chosen)
{
    InstallDebian();
    foreach (var runner in chosen)
    {
        InDebian("apt-get", $"install -y -qq --no-install-recommends {string.Join(' ', runner.Packages.Select(p => p.Name))}");
        if (runner.Preparation?.Split(' ', 2) is [var tool, var arguments])
        {
            InDebian(tool, arguments);
        }
    }
}

/// Runs the Rust tests of a platform on the release profile.
CheckResult TestForeign(Runner runner, NativeBuild build)
{
    Cargo(build, "fetch --locked");
    var environment = ReproducibleFlags(build);
    environment[CargoVariable(build, "RUNNER")] = runner.Command;
    var selection = $"--release --locked --all-features --lib --tests --example levels --target {build.RustTarget} --target-dir {TargetFolder(build)}";
    // The memory tests measure processes with glibc that no emulator runs.
    var skip = string.Join(' ', memoryTests.Concat(runner.Slow ?? []).Select(name => $"--skip {name}"));
    return CargoTest(build, $"test {selection} --no-fail-fast -- {runner.TestOptions} {skip}", environment, TestOutput.Shown) with { Name = $"tests on {runner.Rid}" };
}

/// Packs the libraries of platforms, and runs a program made from the packages on each.
CheckResult TestForeignPrograms(Runner[] chosen)
{
    var wanted = chosen.Select(r => r.Rid).Prepend(machine).ToArray();
    foreach (var rid in wanted)
    {
        ProvideNative(rid);
    }

    var packed = artifacts.Combine("foreign/packages");
    PackInto(packed, root, wanted);
    var arguments = $"test tests/StellaInterop.PackageTests -c {configuration} --filter FullyQualifiedName~ForeignPlatformTests";
    return RunTests($"dotnet {arguments}", "dotnet", new()
    {
        WorkingDirectory = root,
        Arguments = arguments,
        EnvironmentVariables = new Dictionary<string, string>(foreignEnvironment)
        {
            ["STELLA_PACKAGES"] = packed.FullPath,
            ["STELLA_RUNNERS"] = string.Join('\n', chosen.Select(r => $"{r.Rid} {inDebian} {debian} {DebianFolders()} {r.Command}")),
        },
    }, TestOutput.Shown) with { Name = "programs made from the packages" };
}

Task("WindowsTests")
    .Description("Runs the tests of the library, of bulk jobs and of the stella command for Windows, under wine: about 20 minutes on two cores (root on Debian, linux-x64).")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var runner = runners.Single(r => r.Rid == "win-x64");
    InstallRunners(runner);
    ProvideNative(runner.Rid);
    var stella = PublishForeign(runner, "src/StellaInterop.Cli");
    var suites = new[] { "StellaInterop.Tests", "StellaInterop.Bulk.Tests", "StellaInterop.Cli.Tests" }
        .Select(name => PublishForeign(runner, $"tests/{name}", "-p:EnableNUnitRunner=true").CombineWithFilePath($"{name}.exe")).ToArray();
    var failed = suites.Where(suite => !PassesForeign(runner, suite, stella)).Select(suite => suite.GetFilenameWithoutExtension()).ToArray();
    if (failed.Length > 0)
    {
        throw new CakeException($"Under wine, tests of {string.Join(" and ", failed.Select(suite => suite.ToString()))} fail.");
    }
});

/// Publishes a project with the runtime of another platform, and returns the folder. The outputs of the source tree stay as they are.
DirectoryPath PublishForeign(Runner runner, string project, string properties = "")
{
    var folder = artifacts.Combine($"foreign/{runner.Rid}");
    var output = folder.Combine(new DirectoryPath(project).GetDirectoryName());
    CleanDirectory(output);
    Run("dotnet", $"publish {project} -c {configuration} -r {runner.Rid} --self-contained -p:RestoreLockedMode=false {properties} --artifacts-path {folder.Combine("build")} -o {output}");
    return output;
}

/// Runs a test program on another platform, and returns whether all its tests pass. The tests of the stella command run the program in `stella`.
bool PassesForeign(Runner runner, FilePath suite, DirectoryPath stella) => StartProcess(inDebian, new ProcessSettings
{
    WorkingDirectory = root,
    Arguments = $"{debian} {DebianFolders()} {runner.Command} {suite} --progress off",
    EnvironmentVariables = new Dictionary<string, string>(foreignEnvironment) { ["STELLA_PROGRAM"] = stella.FullPath },
}) == 0;
