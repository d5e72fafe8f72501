using StellaInterop;
using StellaInterop.Models.Mini;

var builder = Host.CreateApplicationBuilder(args);
builder.Logging.ClearProviders();
builder.Services.AddStellaEmbeddings(options =>
{
    options.ModelPath = StellaMiniModel.Path;
    options.WarmUpOnStart = true;
});
builder.Services.AddHostedService<RankingWorker>();
await builder.Build().RunAsync();

/// <summary>Ranks once and stops the host.</summary>
internal sealed class RankingWorker(StellaEmbeddingPool pool, IHostApplicationLifetime lifetime) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        StellaEmbeddings vectors = await pool.EmbedAsync(Ranking.All, Ranking.Options, cancellationToken: stoppingToken);
        Array.ForEach(Ranking.Of(vectors.Vectors.ToArray()), Console.WriteLine);
        lifetime.StopApplication();
    }
}
