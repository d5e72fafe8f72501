// Runs programs for other platforms in the Debian folder of toolchains.cake. qemu emulates linux-arm64, and wine runs programs for win-x64.
// musl is missing, because .NET needs libstdc++ for it, which Debian does not have.

/// A command that runs programs of another platform.
record Runner(string Rid, string Command, DebianPackage[] Packages);

var runners = new Runner[]
{
    new("linux-arm64", "qemu-aarch64 -L /usr/aarch64-linux-gnu",
    [
        new("qemu-user", "1:10.0.13+ds-0+deb13u1"),
        new("libc6-arm64-cross", "2.41-11cross1"),
        new("libgcc-s1-arm64-cross", "14.2.0-19cross1"),
        new("libstdc++6-arm64-cross", "14.2.0-19cross1"),
    ]),
    new("win-x64", "wine", [new("wine", "10.0~repack-6"), new("wine64", "10.0~repack-6")]),
};

Task("Foreign")
    .Description("Runs a program made from the packages for linux-arm64 by qemu, and for win-x64 under wine, or only for --rids=A,B (root on Debian, linux-x64).")
    .IsDependentOn("Restore")
    .Does(() =>
{
    var wanted = RidArgument(runners.Select(r => r.Rid).ToArray());
    var chosen = wanted.Select(rid => runners.FirstOrDefault(r => r.Rid == rid)
        ?? throw new CakeException($"This machine has no way to run {rid}. It runs {string.Join(", ", runners.Select(r => r.Rid))}.")).ToArray();
    InstallDebian();
    InDebian("apt-get", $"install -y -qq --no-install-recommends {string.Join(' ', chosen.SelectMany(r => r.Packages).Select(p => p.Name))}");
    TestForeignPrograms(chosen);
});

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
        // The emulated system has no ICU.
        ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1",
        // Wine keeps its settings in a folder, which has a link to the root of the file system. So the folder is outside the source tree,
        // where no program walks. Wine reports its own gaps on standard error.
        ["WINEPREFIX"] = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "stella-wine"),
        ["WINEDEBUG"] = "-all",
    };
    Run("dotnet", $"test tests/StellaInterop.PackageTests -c {configuration} --filter FullyQualifiedName~ForeignPlatformTests", environment);
}
