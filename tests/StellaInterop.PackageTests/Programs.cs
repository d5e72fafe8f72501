namespace StellaInterop.PackageTests;

/// <summary>Builds the programs in <c>Apps</c> from the packages, once for all tests.</summary>
[SetUpFixture]
internal sealed class Programs
{
    private static PackageWorkspace? workspace;

    public static PackageWorkspace PackageWorkspace => workspace!;

    /// <summary>Returns the build output folder of a program, relative to the workspace.</summary>
    public static string Output(string name) => $"apps/{name}/bin/Release/net10.0";

    [OneTimeSetUp]
    public void Build()
    {
        workspace = new PackageWorkspace();
        workspace.DotNet("build", "apps/Apps.slnx", "-c", "Release");
    }

    [OneTimeTearDown]
    public void Remove() => workspace?.Dispose();
}
