namespace StellaInterop.Soak.Scenarios;

/// <summary>Runs a scenario on pools that it creates.</summary>
internal interface IScript
{
    Task RunAsync(ScenarioContext context);
}
