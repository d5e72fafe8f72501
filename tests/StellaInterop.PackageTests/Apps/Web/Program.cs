using StellaInterop;
using StellaInterop.Models.Mini;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddSingleton(_ => StellaModel.Load(StellaMiniModel.Path));
await using WebApplication app = builder.Build();
app.MapGet("/ranking", (StellaModel model) => string.Join('\n', Ranking.Of(model)));

// Stops when who started it closes its input.
_ = Task.Run(async () =>
{
    await Console.In.ReadToEndAsync();
    app.Lifetime.StopApplication();
});
await app.RunAsync();
