// An application with a route of its own and the endpoints of the embedding server.
//
//     dotnet run --project samples/EmbeddingEndpoints -c Release -- --urls http://127.0.0.1:8080
//     curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' -d '{"input": ["one text", "another"]}'
//
// The other options of the server can be in the section StellaServer of the configuration (StellaServer__KeyFile=keys.json).

using StellaInterop;
using StellaInterop.Models.Mini;

WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(args);
builder.Services.AddStellaServer();
builder.Services.Configure<StellaServerOptions>(options =>
    options.Models.Add(new StellaServedModelOptions { Name = "stella-mini", Path = StellaMiniModel.Path }));

WebApplication app = builder.Build();
app.MapGet("/", () => "This application embeds texts at /v1/embeddings.");

// MapStellaServer maps all protocols and the metrics. This application needs the protocol of OpenAI.
app.MapStellaOpenAI();
app.MapStellaHealth();
await app.RunAsync();
