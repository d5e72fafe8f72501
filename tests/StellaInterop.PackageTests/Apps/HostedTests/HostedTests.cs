using NUnit.Framework;
using StellaInterop;
using StellaInterop.Models.Mini;

/// <summary>Runs inside the test host.</summary>
public sealed class HostedTests
{
    /// <summary>Writes the ranking, which who started the test reads.</summary>
    [Test]
    public void Ranks()
    {
        using var model = StellaModel.Load(StellaMiniModel.Path);
        File.WriteAllLines(TestContext.Parameters["ranking"]!, Ranking.Of(model));
    }
}
