using Microsoft.AspNetCore.Routing;
using StellaInterop.Server.Http;
using StellaInterop.Server.Protocols;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Provides extension methods that map the routes of the embedding server.</summary>
/// <remarks>
/// Register the server by
/// <see cref="Microsoft.Extensions.DependencyInjection.StellaServerServiceCollectionExtensions"/> before. Routes of the application have
/// precedence over refusals of the server.
/// </remarks>
public static class StellaServerEndpointRouteBuilderExtensions
{
    // Refusals come after all routes of the application, each protocol with an order of its own.
    private const int OpenAIOrder = 1000;
    private const int TeiOrder = 1001;
    private const int OllamaOrder = 1002;
    private const int HealthOrder = 1003;
    private const int MetricsOrder = 1004;
    private const int DescriptionOrder = 1005;
    private const int UnknownOrder = 2000;

    /// <summary>Maps all protocols, and refusals in the shape of OpenAI for all paths that the application does not have.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaServer(this IEndpointRouteBuilder endpoints)
    {
        _ = endpoints.MapStellaOpenAI().MapStellaTei().MapStellaOllama().MapStellaHealth().MapStellaMetrics().MapStellaOpenApi();
        RouteMap.MapUnknown(endpoints, "/api/", Ollama.Protocol, UnknownOrder);
        RouteMap.MapUnknown(endpoints, "/", OpenAI.Protocol, UnknownOrder + 1);
        return endpoints;
    }

    /// <summary>Maps the protocol of OpenAI: <c>/v1/embeddings</c> and <c>/v1/models</c>.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaOpenAI(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, OpenAI.Routes, OpenAIOrder);

    /// <summary>
    /// Maps the protocol of Text Embeddings Inference: <c>POST /</c>, <c>/embed</c>, <c>/embed_all</c>, <c>/similarity</c>, <c>/tokenize</c>,
    /// <c>/decode</c>, <c>/info</c> and <c>/health</c>. The default model answers.
    /// </summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaTei(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, Tei.Routes, TeiOrder);

    /// <summary>
    /// Maps the protocol of Ollama: <c>/api/embed</c>, <c>/api/embeddings</c>, <c>/api/tags</c>, <c>/api/ps</c>, <c>/api/show</c>,
    /// <c>/api/version</c> and <c>GET /</c>.
    /// </summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaOllama(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, Ollama.Routes, OllamaOrder);

    /// <summary>Maps <c>/health/live</c> and <c>/health/ready</c>, which need no key.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaHealth(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, Operations.HealthRoutes, HealthOrder);

    /// <summary>Maps <c>/metrics</c> in the text format of Prometheus. It needs a key if the server has keys.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaMetrics(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, Operations.MetricRoutes, MetricsOrder);

    /// <summary>
    /// Maps <c>/openapi.json</c> and <c>/docs</c>, which describe all mapped routes of the server: the one to programs, the other to people.
    /// </summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaOpenApi(this IEndpointRouteBuilder endpoints) => RouteMap.Map(endpoints, Operations.DescriptionRoutes, DescriptionOrder);
}
