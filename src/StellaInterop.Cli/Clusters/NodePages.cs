using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Dashboard;
using StellaInterop.Cluster.Jobs;
using StellaInterop.Server.Keys;

namespace StellaInterop.Cli.Clusters;

/// <summary>Answers the HTTP requests to a node: its health, the jobs, and the dashboard of Orleans. All but the health need a key, if there are keys.</summary>
internal static class NodePages
{
    public const string JobsPath = "/jobs";
    public const string DashboardPath = "/dashboard";

    private const string HealthPath = "/health";

    /// <summary>Maps the pages.</summary>
    /// <param name="application">The application, whose services have the silo.</param>
    /// <param name="keys">The keys; <see langword="null"/> to let every caller in.</param>
    /// <param name="hasDashboard">Whether the dashboard is one of the pages.</param>
    public static void Map(WebApplication application, KeyLookup? keys, bool hasDashboard)
    {
        // The routing comes after the check of the key, so that a path without a page tells nothing either.
        _ = application.Use(next => context => IsLetIn(context.Request, keys) ? next(context) : RefuseAsync(context.Response));
        _ = application.UseRouting();
        _ = application.MapGet(HealthPath, (RequestDelegate)(context => context.Response.WriteAsync("healthy", context.RequestAborted)));
        _ = application.MapGet(JobsPath, (RequestDelegate)WriteJobsAsync);
        if (hasDashboard)
        {
            _ = application.MapOrleansDashboard(DashboardPath);
        }
    }

    private static bool IsLetIn(HttpRequest request, KeyLookup? keys) =>
        keys is null || request.Path == HealthPath || keys.Find(KeyOf(request)) is not null;

    /// <summary>Returns the key of a program, or the password that a browser has asked its user for. A key in the URL would be in histories and logs.</summary>
    private static string KeyOf(HttpRequest request)
    {
        const string Scheme = "Basic ";
        string authorization = request.Headers.Authorization.ToString();
        if (!authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return RequestKey.Of(request);
        }

        byte[] credentials = new byte[authorization.Length];
        return Convert.TryFromBase64String(authorization[Scheme.Length..].Trim(), credentials, out int length)
            && Encoding.UTF8.GetString(credentials, 0, length).Split(':', 2) is [_, var password] ? password : "";
    }

    private static Task RefuseAsync(HttpResponse response)
    {
        response.Headers.WWWAuthenticate = "Basic realm=\"stella node\", charset=\"UTF-8\"";
        return WriteAsync(response, StatusCodes.Status401Unauthorized, json => WriteError(
            json, "The request has no API key of this node. Send one in the header Authorization: Bearer KEY, or as the password of a browser."));
    }

    private static async Task WriteJobsAsync(HttpContext context)
    {
        try
        {
            IDirectoryGrain directory = context.RequestServices.GetRequiredService<IGrainFactory>().GetGrain<IDirectoryGrain>(0);
            ClusterStatus status = await directory.ListAsync().WaitAsync(context.RequestAborted).ConfigureAwait(false);
            await WriteAsync(context.Response, StatusCodes.Status200OK, json => StatusJson.Write(json, status)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            context.Response.Headers.RetryAfter = 5.ToString(CultureInfo.InvariantCulture);
            await WriteAsync(context.Response, StatusCodes.Status503ServiceUnavailable, json => WriteError(
                json, "The cluster does not answer at the moment. Try again later, or see the messages of the nodes.")).ConfigureAwait(false);
        }
    }

    private static void WriteError(Utf8JsonWriter json, string message)
    {
        json.WriteStartObject("error");
        json.WriteString("message", message);
        json.WriteEndObject();
    }

    private static async Task WriteAsync(HttpResponse response, int status, Action<Utf8JsonWriter> properties)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            properties(json);
            json.WriteEndObject();
        }

        response.StatusCode = status;
        response.ContentType = "application/json";
        response.ContentLength = buffer.WrittenCount;
        response.Headers.CacheControl = "no-store";
        await response.Body.WriteAsync(buffer.WrittenMemory).ConfigureAwait(false);
    }
}
