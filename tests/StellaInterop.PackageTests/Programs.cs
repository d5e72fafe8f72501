namespace StellaInterop.PackageTests;

/// <summary>The programs of <c>Apps</c>, built once from the packages for all tests.</summary>
[SetUpFixture]
internal sealed class Programs
{
    private static Workshop? workshop;

    public static Workshop Workshop => workshop!;

    /// <summary>The output of a program's build.</summary>
    public static string Output(string name) => $"apps/{name}/bin/Release/net10.0";

    [OneTimeSetUp]
    public void Build()
    {
        workshop = new Workshop();
        workshop.DotNet("build", "apps/Apps.slnx", "-c", "Release");
    }

    [OneTimeTearDown]
    public void Remove() => workshop?.Dispose();
}
