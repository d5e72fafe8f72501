using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using StellaInterop.Server.Errors;
using StellaInterop.Server.Http;
using StellaInterop.Server.Keys;
using StellaInterop.Server.Models;
using StellaInterop.Server.OpenApi;
using StellaInterop.Server.Telemetry;

namespace StellaInterop.Server.Protocols;

/// <summary>The routes for the operator of the server: health and metrics. Their errors have the shape of OpenAI.</summary>
internal static class Operations
{
    private static Protocol Protocol { get; } = OpenAI.Protocol with { Name = "server" };

    public static IReadOnlyList<ServerRoute> HealthRoutes { get; } =
    [
        new("GET", "/health/live", Protocol, RouteAccess.Everyone, "Tells whether the process must be restarted.", CheckLiveAsync) { AnswerSchema = AnswerSchemas.Health },
        new("GET", "/health/ready", Protocol, RouteAccess.Everyone, "Tells whether requests are answered.", CheckReadyAsync) { AnswerSchema = AnswerSchemas.Health },
    ];

    public static IReadOnlyList<ServerRoute> MetricRoutes { get; } =
    [
        new("GET", "/metrics", Protocol, RouteAccess.Key, "Returns the metrics in the text format of Prometheus.", ShowMetricsAsync),
    ];

    public static IReadOnlyList<ServerRoute> DescriptionRoutes { get; } =
    [
        new("GET", "/openapi.json", Protocol, RouteAccess.Key, "Describes the API in the form of OpenAPI 3.1.", ShowDescriptionAsync),
        new("GET", "/docs", Protocol, RouteAccess.Everyone, "Describes the API for people.", ShowPageAsync)
        {
            // An application may have a page of its own there.
            Order = 1,
        },
    ];

    /// <summary>A restart helps only a server whose pools are closed. A model that fails may recover by itself.</summary>
    private static Task CheckLiveAsync(RequestContext context) =>
        context.Models.All.Any(model => model.Pool.GetHealth().ModelState == StellaPoolModelState.Closed) && !IsStopping(context)
            ? throw new ServerException(ErrorKind.Unavailable, "A pool is closed while the server runs. Restart the process.")
            : context.WriteAsync(json => WriteState(json, context, "live"));

    /// <summary>The default model decides: while another model fails, the server still answers most requests.</summary>
    private static Task CheckReadyAsync(RequestContext context) =>
        IsStopping(context) ? throw NotReady("The server is stopping.")
        : context.Models.Default.Pool.GetHealth().Status == StellaPoolStatus.Unhealthy ? throw NotReady($"The model {context.Models.Default.Name} does not answer.")
        : context.WriteAsync(json => WriteState(json, context, "ready"));

    private static bool IsStopping(RequestContext context) =>
        context.Http.RequestServices.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested;

    private static ServerException NotReady(string reason) =>
        new(new ServerError(ErrorKind.Unavailable, $"{reason} Try again later.") { RetryAfter = TimeSpan.FromSeconds(5) });

    private static void WriteState(Utf8JsonWriter json, RequestContext context, string status)
    {
        json.WriteStartObject();
        json.WriteString("status", status);
        json.WriteStartArray("models");
        foreach (ServedModel model in context.Models.All)
        {
            json.WriteStartObject();
            json.WriteString("name", model.Name);
            json.WriteString("state", model.State);
            // The reason may name files, and everyone can see this answer.
#pragma warning disable CA1308 // The words are lower case by contract.
            json.WriteString("status", model.Pool.GetHealth().Status.ToString().ToLowerInvariant());
#pragma warning restore CA1308
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Answers the page about the API.</summary>
    public static Task ShowPageAsync(RequestContext context)
    {
        HttpRequest request = context.Http.Request;
        HttpResponse response = context.Http.Response;
        response.ContentType = "text/html; charset=utf-8";
        response.Headers.ContentSecurityPolicy = ApiPage.ContentSecurityPolicy;
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers["Referrer-Policy"] = "no-referrer";
        bool hasKeys = context.Http.RequestServices.GetRequiredService<KeyRing>().IsEnabled;
        return response.WriteAsync(ApiPage.Write(GetRoutes(context), $"{request.Scheme}://{request.Host}{request.PathBase}", hasKeys), context.ClientLeft);
    }

    private static Task ShowDescriptionAsync(RequestContext context)
    {
        ServerRoute[] routes = GetRoutes(context);
        return context.WriteAsync(json => OpenApiDocument.Write(json, routes));
    }

    /// <summary>Returns the routes of the server that the application has mapped.</summary>
    private static ServerRoute[] GetRoutes(RequestContext context) =>
    [
        .. context.Http.RequestServices.GetRequiredService<EndpointDataSource>().Endpoints
            .Select(endpoint => endpoint.Metadata.GetMetadata<ServerRoute>())
            .Where(route => route is { Method: not ServerRoute.AnyMethod })!,
    ];

    private static Task ShowMetricsAsync(RequestContext context)
    {
        string metrics = context.Http.RequestServices.GetRequiredService<MetricsCollector>().Write();
        context.Http.Response.ContentType = MetricsCollector.ContentType;
        return context.Http.Response.WriteAsync(metrics, context.ClientLeft);
    }
}
