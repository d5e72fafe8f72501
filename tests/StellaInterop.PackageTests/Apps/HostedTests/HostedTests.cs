using NUnit.Framework;
using StellaInterop;
using StellaInterop.Models.Mini;

/// <summary>Uses the packages inside a test host.</summary>
public sealed class HostedTests
{
    /// <summary>Writes the ranking to a file, which the outer test reads.</summary>
    [Test]
    public void The_model_loads_in_a_test_host_and_ranks_texts()
    {
        using var model = StellaModel.Load(StellaMiniModel.Path);
        File.WriteAllLines(TestContext.Parameters["ranking"]!, Ranking.Of(model));
    }
}
