using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using StellaInterop.Server.Errors;

namespace StellaInterop.Server.Http;

/// <summary>Maps routes to endpoints.</summary>
internal static class RouteMap
{
    /// <summary>Maps routes, and an endpoint of low precedence for each path that refuses other methods in the protocol's shape.</summary>
    /// <remarks>Without that endpoint, the framework would answer with an empty body.</remarks>
    /// <param name="endpoints">The endpoints of the application.</param>
    /// <param name="routes">The routes of a protocol.</param>
    /// <param name="order">The precedence of the refusals. Protocols may share a path, and equal orders would be ambiguous.</param>
    /// <returns>The endpoints.</returns>
    public static IEndpointRouteBuilder Map(IEndpointRouteBuilder endpoints, IReadOnlyList<ServerRoute> routes, int order)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        foreach (ServerRoute route in routes)
        {
            string[] methods = route.Method == "GET" ? ["GET", "HEAD"] : [route.Method];
            _ = endpoints.MapMethods(route.Path, methods, new RouteHandler(route).HandleAsync).WithMetadata(route).WithOrder(route.Order);
        }

        foreach (IGrouping<string, ServerRoute> path in routes.GroupBy(route => route.Path))
        {
            string allow = string.Join(", ", path.Select(route => route.Method));
            var refusal = new ServerRoute(ServerRoute.AnyMethod, path.Key, path.First().Protocol, RouteAccess.Everyone, "Refuses other methods.", context => throw new ServerException(
                new ServerError(ErrorKind.WrongMethod, $"The method {Printable.Line(context.Http.Request.Method)} is not one of this path. Use {allow}.") { Allow = allow }));
            _ = endpoints.Map(path.Key, new RouteHandler(refusal).HandleAsync).WithMetadata(refusal).WithOrder(order);
        }

        return endpoints;
    }

    /// <summary>Maps a route for all paths under a prefix that no other endpoint has.</summary>
    public static void MapUnknown(IEndpointRouteBuilder endpoints, string prefix, Protocol protocol, int order)
    {
        var refusal = new ServerRoute(ServerRoute.AnyMethod, $"{prefix}{{**path}}", protocol, RouteAccess.Everyone, "Refuses unknown paths.", context => throw new ServerException(
            ErrorKind.UnknownRoute, $"The path '{Printable.Line(context.Http.Request.Path.Value ?? "")}' is not one of this server."));
        _ = endpoints.Map(refusal.Path, new RouteHandler(refusal).HandleAsync).WithMetadata(refusal).WithOrder(order);
    }
}
