// Installs published clients of the server from npm. The tests run them if STELLA_CLIENTS names the folder.

var clients = artifacts.Combine("clients");

Task("NpmClients")
    .Description("Installs the npm clients of the server's tests into artifacts/clients, by version and hash, and checks the types of their modules (Linux, npm).")
    .Does(() =>
{
    // Some clients need a younger Node.js than Debian has, so it is one of the packages.
    InstallNpm(root.Combine("tests/StellaInterop.Server.Tests/Clients/Npm"), clients);
    Run("node", $"{clients}/node_modules/typescript/bin/tsc --project {clients}");
});

Task("Clients")
    .Description("Tests published clients of NuGet and npm against the server. --write writes docs/clients.md instead of comparing it.")
    .IsDependentOn("Build")
    .IsDependentOn("NpmClients")
    .Does(() => Run(
        "dotnet",
        $"test tests/StellaInterop.Server.Tests -c {configuration} --no-build --filter FullyQualifiedName~ClientTests",
        new() { ["STELLA_CLIENTS"] = clients.FullPath, ["STELLA_WRITE_DOCS"] = HasArgument("write") ? "1" : "" }));

/// Copies a folder with a package.json, and installs its packages beside it unless the lock file is unchanged. No package runs a script.
void InstallNpm(DirectoryPath sources, DirectoryPath target)
{
    var installed = target.CombineWithFilePath("installed.json");
    var lockFile = System.IO.File.ReadAllText(sources.CombineWithFilePath("package-lock.json").FullPath);
    EnsureDirectoryExists(target);
    CopyFiles(GetFiles($"{sources}/*"), target);
    if (!FileExists(installed) || System.IO.File.ReadAllText(installed.FullPath) != lockFile)
    {
        Run("npm", $"ci --prefix {target} --ignore-scripts --no-audit --no-fund --loglevel error");
        System.IO.File.WriteAllText(installed.FullPath, lockFile);
    }
}
