using StellaInterop.Models.Mini;

var builder = WebApplication.CreateBuilder(args);
builder.Services.AddStellaServer(options => options.Models.Add(new() { Name = "stella-mini", Path = StellaMiniModel.Path }));
await using WebApplication app = builder.Build();
app.MapGet("/", () => "a route of the application");
app.MapStellaServer();

// Stops when the parent process closes the standard input.
_ = Task.Run(async () =>
{
    await Console.In.ReadToEndAsync();
    app.Lifetime.StopApplication();
});
await app.RunAsync();
