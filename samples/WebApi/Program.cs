// An embedding server that is compatible with /v1/embeddings of OpenAI, with health checks and metrics.
//
//     dotnet run --project samples/WebApi -c Release -- --urls http://127.0.0.1:8080
//     curl http://127.0.0.1:8080/v1/embeddings -H 'Content-Type: application/json' -d '{"input": ["one text", "another"]}'
//
// The settings are those of StellaEmbeddingServiceOptions in the section StellaEmbeddings. They come from appsettings.json, from
// the environment (StellaEmbeddings__ModelName=NovaSearch/stella_en_400M_v5), or from the command line.

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

// One model with two generators: documents have no prompt, and queries have the search prompt of Stella.
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

// Maps errors to status codes.
builder.Services.AddExceptionHandler<EmbeddingProblems>();
builder.Services.AddProblemDetails();

WebApplication app = builder.Build();
app.UseExceptionHandler();
app.MapPost("/v1/embeddings", EmbeddingsEndpoint.HandleAsync);
app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = check => check.Tags.Contains("ready") });
app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = check => check.Tags.Contains("live") });
app.MapPrometheusScrapingEndpoint("/metrics");
await app.RunAsync();
