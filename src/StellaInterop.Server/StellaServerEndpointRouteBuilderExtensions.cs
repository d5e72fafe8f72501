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
    private const int UnknownOrder = 2000;

    /// <summary>Maps all protocols, and refusals in the shape of OpenAI for all paths that the application does not have.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaServer(this IEndpointRouteBuilder endpoints)
    {
        _ = endpoints.MapStellaOpenAI();
        RouteMap.MapUnknown(endpoints, "/", OpenAI.Protocol, UnknownOrder + 1);
        return endpoints;
    }

    /// <summary>Maps the protocol of OpenAI: <c>/v1/embeddings</c> and <c>/v1/models</c>.</summary>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder MapStellaOpenAI(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        RouteMap.Map(endpoints, OpenAI.Routes, OpenAIOrder);
        return endpoints;
    }
}
