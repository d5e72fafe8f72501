using Microsoft.AspNetCore.Cors.Infrastructure;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;
using StellaInterop.Server.Embedding;

namespace StellaInterop.Server.Http;

/// <summary>Lets web pages of allowed origins use the routes of the server. Without such origins it has no effect. Thread-safe.</summary>
/// <remarks>
/// The policy is that of ASP.NET Core, but its middleware is not used: a library cannot put it before the host's own, and the middleware
/// loses its headers when an error clears the response.
/// </remarks>
internal sealed class CrossOrigin
{
    /// <summary>The headers of answers that scripts may read. A test compares them with those that the server sends.</summary>
    public static readonly string[] ExposedHeaders =
    [
        RouteHandler.RequestIdHeader,
        EmbeddingRun.TruncatedHeader,
        RequestContext.IgnoredHeader,
        ServerTiming.Header,
        "Allow",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-compute-type",
        "x-compute-time",
        "x-compute-characters",
        "x-compute-tokens",
        "x-total-time",
        "x-tokenization-time",
        "x-queue-time",
        "x-inference-time",
    ];

    /// <summary>The time for which a browser may remember that it may send requests.</summary>
    private static readonly TimeSpan PreflightMaxAge = TimeSpan.FromMinutes(10);

    private readonly ICorsService cors;
    private readonly CorsPolicy? policy;

    public CrossOrigin(IOptions<StellaServerOptions> options, ICorsService cors)
    {
        this.cors = cors;
        if (options.Value.CorsOrigins is { Count: > 0 } origins)
        {
            // Clients have headers of their own, such as x-stainless-os. Cookies are not sent, so an allowed header gives no access.
            policy = new CorsPolicyBuilder([.. origins])
                .WithMethods("GET", "HEAD", "POST")
                .AllowAnyHeader()
                .WithExposedHeaders(ExposedHeaders)
                .SetPreflightMaxAge(PreflightMaxAge)
                .Build();
        }
    }

    /// <summary>Returns whether a browser asks if a page may send a request. It does not send the key of that request.</summary>
    public bool IsPreflight(HttpRequest request) => policy is not null && HttpMethods.IsOptions(request.Method)
        && request.Headers.Origin.Count > 0 && request.Headers.AccessControlRequestMethod.Count > 0;

    /// <summary>Sets the headers for an allowed origin.</summary>
    public void SetHeaders(HttpContext http)
    {
        if (policy is not null && http.Request.Headers.Origin.Count > 0)
        {
            cors.ApplyResult(cors.EvaluatePolicy(http, policy), http.Response);
        }
    }
}
