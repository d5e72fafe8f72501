using StellaInterop;
using StellaInterop.Models.Mini;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.ClearProviders();
builder.Services.AddSingleton(_ => StellaModel.Load(StellaMiniModel.Path));
builder.Services.AddHostedService<RankingWorker>();
await builder.Build().RunAsync();

/// <summary>Ranks once and stops the host.</summary>
internal sealed class RankingWorker(StellaModel model, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Array.ForEach(Ranking.Of(model), Console.WriteLine);
        lifetime.StopApplication();
        return Task.CompletedTask;
    }
}
