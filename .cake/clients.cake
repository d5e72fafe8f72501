// Installs published clients of the server from npm. The tests run them if STELLA_CLIENTS names the folder.

var clients = artifacts.Combine("clients");

Task("NpmClients")
    .Description("Installs the npm clients of the server's tests into artifacts/clients, by version and hash, and checks the types of their modules (Linux, npm).")
    .Does(() =>
{
    var sources = root.Combine("tests/StellaInterop.Server.Tests/Clients/Npm");
    var installed = clients.CombineWithFilePath("installed.json");
    var lockFile = System.IO.File.ReadAllText(sources.CombineWithFilePath("package-lock.json").FullPath);
    var isInstalled = FileExists(installed) && System.IO.File.ReadAllText(installed.FullPath) == lockFile;
    EnsureDirectoryExists(clients);
    CopyFiles(GetFiles($"{sources}/*"), clients);
    if (!isInstalled)
    {
        // Some clients need a younger Node.js than Debian has, so it is one of the packages. No package runs a script.
        Run("npm", $"ci --prefix {clients} --ignore-scripts --no-audit --no-fund --loglevel error");
        System.IO.File.WriteAllText(installed.FullPath, lockFile);
    }

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
