// An embedding server that speaks the protocol of OpenAI's /v1/embeddings, with health checks and metrics.
//
//     dotnet run --project samples/WebApi -c Release -- --urls http://127.0.0.1:8080
//     curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' -d '{"input": ["one text", "another"]}'
//
// Settings are those of StellaEmbeddingServiceOptions, in the section StellaEmbeddings: appsettings.json, the environment
// (StellaEmbeddings__ModelName=NovaSearch/stella_en_400M_v5), or the command line.

using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using StellaInterop;
using StellaInterop.Models.Mini;
using StellaInterop.Samples.WebApi;

WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(args);
builder.Services.ConfigureHttpJsonOptions(options =>
{
    options.SerializerOptions.PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower;
    options.SerializerOptions.TypeInfoResolverChain.Insert(0, ApiJson.Default);
});

// One model, two ways to ask it: documents as they are, queries with the prompt that Stella was trained with.
builder.Services.AddStellaEmbeddings();
builder.Services.AddStellaQueryEmbeddings();
builder.Services.PostConfigure<StellaEmbeddingServiceOptions>(options =>
{
    if (string.IsNullOrEmpty(options.ModelPath) && string.IsNullOrEmpty(options.ModelName))
    {
        options.ModelPath = StellaMiniModel.Path;
    }
});

builder.Services.AddHealthChecks().AddStellaHealthChecks();
builder.Services.AddOpenTelemetry()
    .WithMetrics(metrics => metrics.AddMeter(StellaTelemetry.MeterName).AddPrometheusExporter())
    .WithTracing(traces => traces.AddSource(StellaTelemetry.ActivitySourceName));

// What goes wrong becomes a status that tells the client what to do.
builder.Services.AddExceptionHandler<EmbeddingProblems>();
builder.Services.AddProblemDetails();

WebApplication app = builder.Build();
app.UseExceptionHandler();
app.MapPost("/v1/embeddings", EmbeddingsEndpoint.HandleAsync);
app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
app.MapPrometheusScrapingEndpoint("/metrics");
await app.RunAsync();
