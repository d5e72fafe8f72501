using StellaInterop.Tests;

namespace StellaInterop.Cluster.Tests;

/// <summary>Gives all tests of this project a state folder of their own.</summary>
[SetUpFixture]
internal sealed class StateFolderSetUp
{
    private const string Variable = "XDG_STATE_HOME";

    private readonly TemporaryFolder folder = new();
    private string? previous;

    [OneTimeSetUp]
    public void Create()
    {
        previous = Environment.GetEnvironmentVariable(Variable);
        Environment.SetEnvironmentVariable(Variable, folder.Path);
    }

    [OneTimeTearDown]
    public void Delete()
    {
        Environment.SetEnvironmentVariable(Variable, previous);
        folder.Dispose();
    }
}
